import { useQueryClient } from "@tanstack/react-query";
import { Component, type ReactNode, Suspense, useEffect, useRef, useState } from "react";
import { ExperimentsPage } from "./pages/experiments";
import { LoginPage } from "./pages/login";
import { Palette, Shortcuts } from "./pages/palette";
import { Link, match, navigate, useLocation } from "./router";
import { type Theme, ask, connect, logOut, refreshing, remember, remembered, setTheme, useLive, useSession, useTheme } from "./state/session";
import { Icon, type IconName, Logo } from "./ui/icons";
import { later } from "./ui/later";
import { Button, Empty, ErrorNote, Item, Popover, Skeleton, Toasts, failed } from "./ui/kit";

const RunsPage = later(() => import("./pages/runs"));
const RunPage = later(() => import("./pages/run"));
const ComparePage = later(() => import("./pages/compare"));
const ModelsPage = later(() => import("./pages/models"));
const ModelPage = later(() => import("./pages/model"));
const LoggedModelPage = later(() => import("./pages/logged-model"));
const LineagePage = later(() => import("./pages/lineage"));
const SqlPage = later(() => import("./pages/sql"));

// What the address asks for is fetched while the server is still asked who is there; where links lead to, when all is quiet.
if (/^\/experiments\/./.test(location.pathname)) void RunsPage.fetch();
else if (/^\/runs\/./.test(location.pathname)) void RunPage.fetch();
setTimeout(() => [RunsPage, RunPage, ComparePage, ModelsPage, ModelPage].forEach((one) => void one.fetch()), 2000);

type Params = Record<string, string>;

const ROUTES: [string, (params: Params) => ReactNode][] = [
  ["/", () => <ExperimentsPage />],
  ["/experiments", () => <ExperimentsPage />],
  ["/experiments/:ids", ({ ids }) => <RunsPage key={ids} ids={ids!.split(",")} />],
  ["/runs/:id/:tab?", ({ id, tab }) => <RunPage key={id} id={id!} tab={tab ?? "overview"} />],
  ["/compare", () => <ComparePage />],
  ["/models", () => <ModelsPage />],
  ["/models/:name/:part?", ({ name, part }) => <ModelPage key={name} name={name!} part={part ?? "versions"} />],
  ["/logged-models/:id", ({ id }) => <LoggedModelPage key={id} id={id!} />],
  ["/lineage", () => <LineagePage />],
  ["/sql", () => <SqlPage />],
];

function pageAt(path: string): ReactNode {
  for (const [pattern, render] of ROUTES) {
    const params = match(pattern, path);
    if (params) return render(params);
  }
  return (
    <Empty title="There is no such page">
      <p>
        The address may be old or mistyped. <Link href="/">Go to the experiments.</Link>
      </p>
    </Empty>
  );
}

const NAV: { href: string; label: string; icon: IconName; at: RegExp }[] = [
  { href: "/", label: "Experiments", icon: "flask", at: /^\/($|experiments|runs|compare)/ },
  { href: "/models", label: "Models", icon: "cube", at: /^\/(models|logged-models|lineage)/ },
  { href: "/sql", label: "SQL", icon: "terminal", at: /^\/sql/ },
];

export function App() {
  const session = useSession();
  const { path } = useLocation();
  const [palette, setPalette] = useState(false);
  const [help, setHelp] = useState(false);
  const [narrow, setNarrow] = useState(() => remembered("narrow", false));
  const client = useQueryClient();

  useEffect(() => void ask(), []);
  useEffect(() => {
    if (session.state === "in") connect();
  }, [session.state]);
  // What changed in the lake may have changed on the screen. Queries keep what they show until the new answer is there.
  useEffect(() => refreshing(() => client.invalidateQueries({ refetchType: "active", predicate: (query) => query.meta?.["live"] !== false }), 500), [client]);

  const prefix = useRef(0);
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        setPalette(true);
        return;
      }
      const target = event.composedPath()[0] as HTMLElement;
      if (event.metaKey || event.ctrlKey || event.altKey || target.closest?.("input, textarea, select, [contenteditable]") || document.querySelector("dialog[open]")) return;
      if (event.key === "?") setHelp(true);
      else if (event.key === "/") {
        const box = document.querySelector<HTMLElement>("[data-search]");
        event.preventDefault();
        if (box) box.focus();
        else setPalette(true);
      } else if (/^[1-9]$/.test(event.key)) document.querySelectorAll<HTMLElement>(".tabs a, [aria-label=Layout] button")[Number(event.key) - 1]?.click();
      else if (event.key === "g") prefix.current = Date.now();
      else if (Date.now() - prefix.current < 900) {
        const to = { e: "/", m: "/models", s: "/sql" }[event.key];
        if (to) navigate(to);
        prefix.current = 0;
      }
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  }, []);

  if (session.state === "login") return <LoginPage />;
  return (
    <div className={`shell ${narrow ? "narrow" : ""}`}>
      <aside className="side" aria-label="Main">
        <Link href="/" className="brand" aria-label="runlake: experiments">
          <Logo />
          <span className="label">runlake</span>
        </Link>
        <button type="button" className="nav" onClick={() => setPalette(true)} title="Search everything">
          <Icon name="search" />
          <span className="label">Search</span>
          <kbd className="key">{/Mac/.test(navigator.platform) ? "⌘K" : "Ctrl K"}</kbd>
        </button>
        {NAV.map(({ href, label, icon, at }) => (
          <Link key={href} href={href} className="nav" aria-current={at.test(path) ? "page" : undefined} title={label}>
            <Icon name={icon} />
            <span className="label">{label}</span>
          </Link>
        ))}
        <Recent path={path} />
        <div className="spacer" />
        <LiveMark />
        <ThemeSwitch />
        <button type="button" className="nav" onClick={() => setHelp(true)} title="Keyboard">
          <Icon name="help" />
          <span className="label">Keyboard</span>
          <kbd className="key">?</kbd>
        </button>
        <button
          type="button"
          className="nav"
          title={narrow ? "Widen the side bar" : "Narrow the side bar"}
          onClick={() => {
            setNarrow(!narrow);
            remember("narrow", !narrow);
          }}
        >
          <Icon name="side" />
          <span className="label">Narrow</span>
        </button>
        {session.state === "in" && session.who.user_name && <UserMenu name={session.who.user_name} roles={session.who.roles} />}
      </aside>
      <main className="main" id="main">
        <Guard key={path}>
          <Suspense fallback={<Skeleton />}>{session.state === "asking" ? <Skeleton /> : pageAt(path)}</Suspense>
        </Guard>
      </main>
      {palette && <Palette onClose={() => setPalette(false)} />}
      {help && <Shortcuts onClose={() => setHelp(false)} />}
      <Toasts />
    </div>
  );
}

function Recent({ path }: { path: string }) {
  const [recent, setRecent] = useState<{ href: string; name: string }[]>([]);
  useEffect(() => {
    const id = setTimeout(() => setRecent(remembered<{ href: string; name: string }[]>("recent", [])), 300);
    return () => clearTimeout(id);
  }, [path]);
  if (recent.length === 0) return null;
  return (
    <>
      <h2>Recent</h2>
      {recent.slice(0, 6).map(({ href, name }) => (
        <Link key={href} href={href} className="nav recent" title={name} aria-current={path === href ? "page" : undefined}>
          <span className="label cut">{name}</span>
        </Link>
      ))}
    </>
  );
}

function LiveMark() {
  const { connected, lost } = useLive();
  if (lost) {
    return (
      <div className="nav row faint" role="status" style={{ padding: "0 8px", height: 28, fontSize: 12 }} title="The server does not answer. What is shown may be old; it is asked again and again.">
        <span className="dot" style={{ background: "var(--warn)", margin: "0 3px" }} />
        <span className="label">Not connected</span>
      </div>
    );
  }
  if (!connected) return null;
  return (
    <div className="nav row faint" style={{ padding: "0 8px", height: 28, fontSize: 12 }} title="Changes show by themselves">
      <span className="dot" style={{ background: "var(--good)", margin: "0 3px" }} />
      <span className="label">Live</span>
    </div>
  );
}

const THEMES: { id: Theme; label: string; icon: IconName }[] = [
  { id: "system", label: "As the system", icon: "auto" },
  { id: "light", label: "Light", icon: "sun" },
  { id: "dark", label: "Dark", icon: "moon" },
];

function ThemeSwitch() {
  const { chosen } = useTheme();
  const now = THEMES.find(({ id }) => id === chosen)!;
  return (
    <Popover
      label="Theme"
      role="menu"
      trigger={(props) => (
        <button type="button" className="nav" title="Theme" {...props}>
          <Icon name={now.icon} />
          <span className="label">Theme</span>
        </button>
      )}
    >
      {(close) =>
        THEMES.map(({ id, label, icon }) => (
          <Item
            key={id}
            icon={icon}
            checked={id === chosen}
            onClick={() => {
              setTheme(id);
              close();
            }}
          >
            {label}
          </Item>
        ))
      }
    </Popover>
  );
}

function UserMenu({ name, roles }: { name: string; roles: { role: string; scope: string; id?: string }[] }) {
  return (
    <Popover
      label="User"
      role="menu"
      trigger={(props) => (
        <button type="button" className="nav" title={name} {...props}>
          <Icon name="user" />
          <span className="label cut">{name}</span>
        </button>
      )}
    >
      {(close) => (
        <>
          <h3>{roles.map(({ role, scope, id }) => (scope === "all" ? role : `${role} of ${scope} ${id}`)).join(", ") || "no role"}</h3>
          <Item
            icon="out"
            onClick={() => {
              close();
              logOut().catch(failed);
            }}
          >
            Log out
          </Item>
        </>
      )}
    </Popover>
  );
}

/** An error of one page leaves the others alone. */
export class Guard extends Component<{ children: ReactNode }, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <div className="pad">
        <ErrorNote error={this.state.error} retry={() => location.reload()} />
        <p className="soft" style={{ marginTop: 12 }}>
          <Button onClick={() => this.setState({ error: null })}>Show the page again</Button>
        </p>
      </div>
    );
  }
}
