/** The present, so that relative times stay true while a page is open. */

class Clock {
  now = $state(Date.now());

  constructor() {
    setInterval(() => (this.now = Date.now()), 5_000);
  }
}

/** The one clock. */
export const clock = new Clock();
