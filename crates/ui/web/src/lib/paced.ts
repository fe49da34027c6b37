// Work that many calls ask for, done no more often than is good.

export interface Paced {
  call: () => void;
  stop: () => void;
}

/**
 * Does `work` some `pause` after it was asked for. Calls meanwhile are one; calls while it is done ask for one time more. So
 * under calls without end it is done again and again, and never twice at the same time.
 */
export function paced(work: () => unknown, pause: number): Paced {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let busy = false;
  let again = false;
  let stopped = false;
  const call = () => {
    if (stopped) return;
    if (busy) again = true;
    else timer ??= setTimeout(() => void run(), pause);
  };
  const run = async () => {
    timer = undefined;
    busy = true;
    again = false;
    try {
      await work();
    } catch {
      // Who works says what is wrong; the next call tries anew.
    }
    busy = false;
    if (again) call();
  };
  return {
    call,
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
