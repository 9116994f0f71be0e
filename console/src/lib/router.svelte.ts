/** The address is the state: path and query of the page that is shown. */

/** Parameters that go along from page to page. */
const CARRIED = ['domain'];

class Router {
  #path = $state(location.pathname);
  #search = $state.raw(new URLSearchParams(location.search));

  constructor() {
    addEventListener('popstate', () => this.#read());
    document.addEventListener('click', (event) => this.#follow(event));
  }

  /** Path, as `/quarantine/17`. */
  get path(): string {
    return this.#path;
  }

  /** Segments of the path, decoded. */
  get parts(): string[] {
    return this.#path.split('/').filter(Boolean).map(decodeURIComponent);
  }

  /** A parameter; empty when it is not there. */
  get(name: string): string {
    return this.#search.get(name) ?? '';
  }

  /** A parameter that is a list. */
  list(name: string): string[] {
    return this.get(name).split(',').filter(Boolean);
  }

  /** All parameters. */
  all(): Record<string, string> {
    return Object.fromEntries(this.#search);
  }

  /** The address of a page, with what goes along. */
  to(path: string, query: Record<string, string | undefined> = {}): string {
    const search = new URLSearchParams();
    for (const name of CARRIED) {
      const value = this.get(name);
      if (value !== '') search.set(name, value);
    }
    for (const [name, value] of Object.entries(query)) {
      if (value) search.set(name, value);
      else search.delete(name);
    }
    return search.size > 0 ? `${path}?${search}` : path;
  }

  /** Goes to an address of {@link to}. */
  go(address: string, replace = false): void {
    if (replace) history.replaceState(null, '', address);
    else history.pushState(null, '', address);
    this.#read();
    if (!replace) scrollTo(0, 0);
  }

  /** Changes parameters of this page; an empty value removes one. */
  set(changes: Record<string, string | undefined>, replace = false): void {
    const search = new URLSearchParams(this.#search);
    for (const [name, value] of Object.entries(changes)) {
      if (value) search.set(name, value);
      else search.delete(name);
    }
    const address = search.size > 0 ? `${this.#path}?${search}` : this.#path;
    if (replace) history.replaceState(null, '', address);
    else history.pushState(null, '', address);
    this.#read();
  }

  #read(): void {
    this.#path = location.pathname;
    this.#search = new URLSearchParams(location.search);
  }

  /** Links inside the console do not load the page anew. */
  #follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element).closest?.('a');
    if (!link || link.origin !== location.origin || link.target || link.hasAttribute('download')) return;
    if (link.getAttribute('href')?.startsWith('#') || link.pathname.startsWith('/v1/') || link.pathname.includes('.json')) return;
    event.preventDefault();
    this.go(link.pathname + link.search);
  }
}

/** The one router. */
export const router = new Router();
