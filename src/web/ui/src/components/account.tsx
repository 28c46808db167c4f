// Who is logged in, how the pages look, and the way out.

import { useEffect, useRef, useState } from "preact/hooks";
import { may, pages, post, remove, whoami } from "../api";
import { t } from "../texts";
import { applyTheme, type Theme, theme } from "../theme";
import type { Session } from "../types";
import { Chips, Time } from "./basics";
import { attempt, confirm } from "./dialog";
import { Icon } from "./icons";

export function Account() {
  const [open, setOpen] = useState(false);
  const [session, setSession] = useState<Session>();
  const [chosen, choose] = useState(theme);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => void whoami().then(setSession), []);
  useEffect(() => {
    if (!open) return;
    const away = (event: Event) => box.current?.contains(event.target as Node) || setOpen(false);
    const escape = (event: KeyboardEvent) => event.key === "Escape" && setOpen(false);
    addEventListener("pointerdown", away);
    addEventListener("keydown", escape);
    return () => {
      removeEventListener("pointerdown", away);
      removeEventListener("keydown", escape);
    };
  }, [open]);

  const leave = async (work: () => Promise<unknown>) => {
    await attempt(work);
    location.assign("/login");
  };
  const everywhere = async () => {
    if (await confirm({ title: t.top.logoutAll, text: t.top.logoutAllText, yes: t.top.logoutAll }))
      await leave(() => remove("/api/sessions"));
  };
  const themes = Object.entries(t.top.themes) as [Theme, string][];
  return (
    <div class="menu" ref={box}>
      <button type="button" class="icon" aria-expanded={open} aria-label={t.top.account} onClick={() => setOpen(!open)}>
        <Icon name="person" />
      </button>
      {open && (
        <div class="drop">
          {session && (
            <p>
              <strong>{session.caller}</strong> · {session.role}
              {session.expires_at && (
                <small>
                  {t.top.until} <Time at={session.expires_at} />
                </small>
              )}
            </p>
          )}
          <Chips
            label={t.top.theme}
            all={themes}
            chosen={chosen}
            choose={(theme) => {
              applyTheme(theme);
              choose(theme);
            }}
          />
          {pages().docs && (
            <a class="button" href="/docs">
              {t.top.docs}
            </a>
          )}
          {session?.csrf_token && (
            <button type="button" onClick={() => leave(() => post("/api/logout"))}>
              {t.top.logout}
            </button>
          )}
          {may("admin") && session?.csrf_token && (
            <button type="button" onClick={everywhere}>
              {t.top.logoutAll}
            </button>
          )}
        </div>
      )}
    </div>
  );
}
