// Views of the runs page by name: kept as tags of the experiment, so that everybody has them; of several experiments, or
// where the experiment may not be changed, in the browser.

import { useState } from "react";
import { experiments } from "../api/calls";
import { ApiError } from "../api/client";
import type { Experiment } from "../api/types";
import { type SavedView, sharedViews, viewTag } from "../lib/views";
import { navigate } from "../router";
import { remember, remembered } from "../state/session";
import { Ask, Button, Item, Popover, failed, toast } from "../ui/kit";

export function SavedViews({ ids, experiment, onChanged }: { ids: string[]; experiment?: Experiment; onChanged: () => void }) {
  const storage = `views.${ids.join(",")}`;
  const [own, setOwn] = useState<SavedView[]>(() => remembered(storage, []));
  const [naming, setNaming] = useState(false);
  const shared = sharedViews(experiment?.tags ?? []);
  const keep = (next: SavedView[]) => {
    setOwn(next);
    remember(storage, next);
  };
  const put = async (name: string) => {
    const view = { name, search: location.search };
    const here = () => keep([...own.filter((one) => one.name !== name), view]);
    if (!experiment) return here();
    try {
      await experiments.setTag(experiment.experiment_id, viewTag(name), view.search || "?");
      keep(own.filter((one) => one.name !== name));
      onChanged();
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 403)) throw error;
      here();
      toast("It is kept in this browser: you may not change this experiment.");
    }
  };
  const drop = async ({ name }: SavedView, isShared: boolean) => {
    if (!isShared || !experiment) return keep(own.filter((one) => one.name !== name));
    await experiments.deleteTag(experiment.experiment_id, viewTag(name));
    onChanged();
  };
  const all = [...shared.map((view) => ({ view, isShared: true })), ...own.map((view) => ({ view, isShared: false }))];
  return (
    <>
      <Popover label="Views" role="menu" trigger={(props) => <Button icon="bookmark" {...props}>Views</Button>}>
        {(close) => (
          <>
            {all.map(({ view, isShared }) => (
              <div key={`${view.name}${isShared}`} className="row">
                <Item
                  icon="bookmark"
                  onClick={() => {
                    navigate(location.pathname + view.search);
                    close();
                  }}
                >
                  {view.name}
                  {!isShared && experiment && <span className="faint"> in this browser</span>}
                </Item>
                <Button small kind="quiet" icon="trash" title={`Remove ${view.name}`} onClick={() => void drop(view, isShared).catch(failed)} />
              </div>
            ))}
            {all.length === 0 && <h3>Views keep filter, columns, order and charts.</h3>}
            <hr />
            <Item icon="plus" onClick={() => (close(), setNaming(true))}>
              Save this view…
            </Item>
            <Item
              icon="link"
              onClick={() => {
                close();
                navigator.clipboard.writeText(location.href).then(() => toast("The link was copied."), () => toast("The browser did not allow copying; the address bar has the link.", "bad"));
              }}
            >
              Copy a link to it
            </Item>
            <Item icon="restore" onClick={() => (close(), navigate(location.pathname))}>
              Back to the plain view
            </Item>
          </>
        )}
      </Popover>
      {naming && (
        <Ask
          title="Save this view"
          label="Name"
          verb="Save"
          text={experiment ? "It is kept with the experiment, for everybody who sees that." : "It is kept in this browser. To share it, copy its link: everything is in the address."}
          onClose={() => setNaming(false)}
          action={(name) => put(name.trim())}
        />
      )}
    </>
  );
}
