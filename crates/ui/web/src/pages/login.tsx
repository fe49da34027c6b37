import { useState } from "react";
import { logIn } from "../state/session";
import { Logo } from "../ui/icons";
import { ErrorNote } from "../ui/kit";

export function LoginPage() {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const submit = async () => {
    setBusy(true);
    setError(null);
    try {
      await logIn(name, password);
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return (
    <main className="login">
      <form
        className="card"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <div className="row">
          <Logo />
          <h1>Log in to runlake</h1>
        </div>
        <label className="field">
          Name
          <input className="input" name="username" autoComplete="username" required autoFocus value={name} onChange={(event) => setName(event.target.value)} />
        </label>
        <label className="field">
          Password
          <input className="input" name="password" type="password" autoComplete="current-password" required value={password} onChange={(event) => setPassword(event.target.value)} />
        </label>
        {error !== null && <ErrorNote error={error} />}
        <button type="submit" className="btn primary" disabled={busy}>
          {busy ? "Logging in…" : "Log in"}
        </button>
        <p className="faint">No account? An administrator of this server makes one with “runlake user add”.</p>
      </form>
    </main>
  );
}
