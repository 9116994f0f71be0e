/** Who is logged in, and what the role may do. */
import type { Current } from '../api/schema';
import { get, post, remove, whenUnauthenticated } from '../api/client';

/** A right of a role, as the API names them. */
export type Right = 'look' | 'rows' | 'payloads' | 'publish' | 'operate' | 'administer';

class Session {
  who = $state.raw<Current | null>(null);
  /** Whether it is known yet. */
  known = $state(false);
  /** Whether a session ended while the console was open. */
  ended = $state(false);

  constructor() {
    whenUnauthenticated(() => {
      this.ended = this.who !== null;
      this.who = null;
    });
  }

  /** Whether the role may do it: buttons that would fail are not there. */
  may(right: Right): boolean {
    return this.who?.rights.includes(right) ?? false;
  }

  /** Asks who is logged in. */
  async look(): Promise<void> {
    try {
      this.who = await get('/v1/session');
    } catch {
      this.who = null;
    }
    this.known = true;
  }

  /** Logs in; throws what the API says. */
  async login(name: string, password: string): Promise<void> {
    this.who = await post('/v1/session', { name, password });
    this.ended = false;
  }

  /** Logs out. */
  async logout(): Promise<void> {
    await remove('/v1/session').catch(() => undefined);
    this.who = null;
    this.ended = false;
  }
}

/** The one session. */
export const session = new Session();
