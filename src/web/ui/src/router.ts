// The address is the state of the page: where one is, and with which filters.

import { useEffect, useState } from "preact/hooks";

const watchers = new Set<() => void>();

export interface Place {
  path: string;
  query: URLSearchParams;
}

const here = (): Place => ({ path: location.pathname.replace(/\/+$/, "") || "/", query: new URLSearchParams(location.search) });

export function go(address: string, options: { replace?: boolean } = {}) {
  if (options.replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  for (const watcher of watchers) watcher();
}

/** Changes one parameter of the address; nothing takes it out. */
export function setQuery(name: string, value: string | undefined) {
  const { path, query } = here();
  if (value) query.set(name, value);
  else query.delete(name);
  const text = query.toString();
  go(path + (text ? "?" + text : ""), { replace: true });
}

export function usePlace(): Place {
  const [place, set] = useState(here);
  useEffect(() => {
    const update = () => set(here());
    watchers.add(update);
    addEventListener("popstate", update);
    return () => {
      watchers.delete(update);
      removeEventListener("popstate", update);
    };
  }, []);
  return place;
}

/** Follows links within `prefixes` without loading the page again. */
export function followLinks(prefixes: string[]) {
  addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element).closest?.("a");
    if (!link || link.target || link.origin !== location.origin || link.hasAttribute("download")) return;
    if (!prefixes.some((prefix) => link.pathname === prefix || link.pathname.startsWith(prefix + "/"))) return;
    if (link.hash && link.pathname === location.pathname) return;
    event.preventDefault();
    go(link.pathname + link.search + link.hash);
    scrollTo(0, 0);
  });
}
