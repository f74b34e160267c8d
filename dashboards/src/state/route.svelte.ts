// Which page the URL names. Path and query are the only state of a view, so that a link hands it over (U32).
import { type Page, pageOf } from '../model/page';

class Route {
  #path = $state(location.pathname);
  query = $state.raw(new URLSearchParams(location.search));
  readonly page: Page = $derived(pageOf(this.#path));

  constructor() {
    window.addEventListener('popstate', () => this.#read());
  }

  go(href: string): void {
    history.pushState(null, '', href);
    this.#read();
  }

  replaceQuery(query: URLSearchParams): void {
    const text = query.toString();
    history.replaceState(null, '', text === '' ? this.#path : `${this.#path}?${text}`);
    this.query = query;
  }

  /** For links: the browser's own handling stays for new tabs and other sites. */
  follow = (event: MouseEvent): void => {
    const anchor = (event.target as Element | null)?.closest('a');
    if (!(anchor instanceof HTMLAnchorElement) || anchor.origin !== location.origin) return;
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || anchor.target !== '') return;
    if (anchor.hasAttribute('download') || anchor.pathname.startsWith('/api/')) return;
    event.preventDefault();
    this.go(anchor.pathname + anchor.search);
  };

  #read(): void {
    this.#path = location.pathname;
    this.query = new URLSearchParams(location.search);
  }
}

export const route = new Route();
