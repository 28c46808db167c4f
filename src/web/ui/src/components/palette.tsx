// Ctrl+K: every page and command by name, and jobs by number.

import { useRef, useState } from "preact/hooks";
import { isOn, may } from "../api";
import { go } from "../router";
import { t } from "../texts";
import { Dialog } from "./dialog";

const PLACES: [string, string][] = [
  [t.nav.overview, "/admin"],
  [t.nav.jobs, "/admin/jobs"],
  [t.palette.newJob, "/admin/jobs?new=1"],
  ...Object.entries(t.status).map(([status, name]): [string, string] => [`${t.nav.jobs}: ${name}`, `/admin/jobs?status=${status}`]),
  [t.nav.files, "/workspace"],
  [`${t.nav.files}: ${t.files.trash}`, "/workspace?trash=1"],
  [t.nav.effects, "/admin/effects"],
  ...Object.entries(t.effect).map(([state, name]): [string, string] => [`${t.nav.effects}: ${name}`, `/admin/effects?state=${state}`]),
  ...Object.entries(t.system.tabs).map(([tab, name]): [string, string] => [`${t.nav.system}: ${name}`, `/admin/system/${tab}`]),
];

/** Whether somebody of this role has anything to do there. */
const isFor = (address: string) => may(address.endsWith("new=1") ? "operator" : address.endsWith("/access") ? "admin" : "viewer");

export function Palette({ close }: { close: () => void }) {
  const [text, setText] = useState("");
  const [chosen, choose] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  const wanted = text.trim().toLowerCase();
  const number = /^#?(\d{1,15})$/.exec(wanted)?.[1];
  const found = PLACES.filter(([name, address]) => isOn(address) && isFor(address) && name.toLowerCase().includes(wanted));
  if (wanted && isOn("/workspace")) found.push([t.palette.file(text.trim()), `/workspace?q=${encodeURIComponent(text.trim())}`]);
  if (number) found.unshift([t.palette.job(number), `/admin/jobs/${number}`]);
  const index = Math.min(chosen, found.length - 1);
  const open = (address: string | undefined) => {
    if (!address) return;
    close();
    go(address);
  };
  const press = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length) {
      event.preventDefault();
      const next = (index + step + found.length) % found.length;
      choose(next);
      list.current?.children[next]?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      event.preventDefault();
      open(found[index]?.[1]);
    }
  };
  return (
    <Dialog title={t.palette.title} close={close} class="palette">
      <input
        type="text"
        role="combobox"
        aria-expanded="true"
        aria-controls="places"
        aria-activedescendant={found.length ? `place-${index}` : undefined}
        aria-label={t.palette.placeholder}
        placeholder={t.palette.placeholder}
        autofocus
        autocomplete="off"
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          choose(0);
        }}
        onKeyDown={press}
      />
      {found.length ? (
        <ul id="places" role="listbox" ref={list} aria-label={t.palette.title}>
          {found.map(([name, address], at) => (
            <li key={name} id={`place-${at}`} role="option" aria-selected={at === index} onClick={() => open(address)}>
              {name}
            </li>
          ))}
        </ul>
      ) : (
        <p class="faint" id="places">{t.palette.none}</p>
      )}
    </Dialog>
  );
}
