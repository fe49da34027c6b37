// Parts of the app that are fetched by themselves.

import { type ComponentType, lazy, useState } from "react";

/**
 * A component that is fetched when it is needed, or before: then it is drawn at once. React keeps what stands in for one that
 * is waited for on the screen for 0.3 s at least, however soon it comes.
 */
export function later<P extends object>(load: () => Promise<{ default: ComponentType<P> }>) {
  let ready: ComponentType<P> | null = null;
  const Later = lazy(load) as unknown as ComponentType<P>;
  function Part(props: P) {
    const [Now] = useState<ComponentType<P>>(() => ready ?? Later);
    return <Now {...props} />;
  }
  const fetch = () => load().then((of) => void (ready = of.default), () => {});
  return Object.assign(Part, { fetch });
}
