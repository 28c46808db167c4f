// The folders, each opened when one wants to look into it.

import { get, query as queryOf } from "../api";
import { Icon } from "../components/icons";
import { useLive } from "../live";
import { setQuery } from "../router";
import { t } from "../texts";
import type { StreamEvent, Tree as Listing } from "../types";
import { above, address, join, nameOf, ROOT } from "./paths";

/** Entries that one listing gives. */
export const MOST = 1000;

/** Between the open folders in the address; no name has it. */
const BETWEEN = "//";

/** Whether what happened may have changed what is in a folder. */
export function touches({ kind, data }: StreamEvent, folder: string): boolean {
  if (kind !== "workspace.changed") return false;
  const path = String(data.path ?? ROOT);
  // A move tells where to and not where from, a command tells nothing; a file may bring folders above it.
  return !["write", "folder"].includes(String(data.op)) || folder === ROOT || path.startsWith(folder + "/");
}

export const useListing = (folder: string) =>
  useLive<Listing>(
    (signal) => get("/api/workspace/tree" + queryOf({ path: folder, max_entries: MOST }), signal),
    [folder],
    (event) => touches(event, folder),
  );

export const isHidden = (name: string) => name.startsWith(".");

export function Tree({ path, query }: { path: string; query: URLSearchParams }) {
  const open = new Set((query.get("open") ?? "").split(BETWEEN).filter(Boolean));
  const shown = new Set([...above(path), path, ...open]);
  const toggle = (folder: string) => {
    if (open.has(folder)) open.delete(folder);
    else open.add(folder);
    setQuery("open", [...open].join(BETWEEN));
  };
  return (
    <nav class="tree card" aria-label={t.files.folders}>
      <a class="node" href={address(ROOT)} aria-current={path === ROOT ? "page" : undefined}>
        <Icon name="files" /> {t.files.root}
      </a>
      <Branch folder={ROOT} path={path} shown={shown} toggle={toggle} hidden={query.has("hidden")} />
    </nav>
  );
}

interface Props {
  folder: string;
  path: string;
  shown: Set<string>;
  toggle: (folder: string) => void;
  hidden: boolean;
}

function Branch(props: Props) {
  const { folder, path, shown, toggle, hidden } = props;
  const { data } = useListing(folder);
  const folders = data?.entries.filter(({ is_dir, name }) => is_dir && (hidden || !isHidden(name))) ?? [];
  if (!folders.length) return null;
  return (
    <ul class="plain">
      {folders.map(({ name }) => {
        const at = join(folder, name);
        const onTheWay = at !== path && path.startsWith(at + "/");
        const isOpen = shown.has(at);
        return (
          <li key={name}>
            <span class="node-row">
              <button
                type="button"
                class="icon small"
                aria-expanded={isOpen}
                aria-label={t.files.unfold(name)}
                disabled={onTheWay || at === path}
                onClick={() => toggle(at)}
              >
                <Icon name="chevron" />
              </button>
              <a class="node" href={address(at)} aria-current={at === path ? "page" : undefined} title={at}>
                {nameOf(at)}
              </a>
            </span>
            {isOpen && <Branch {...props} folder={at} />}
          </li>
        );
      })}
    </ul>
  );
}
