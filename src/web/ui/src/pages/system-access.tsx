// Who can log in: the password, browsers, tokens of programs.

import { useState } from "preact/hooks";
import { ApiError, get, may, post, remove, request } from "../api";
import { Card, Command, Empty, Field, Problem, Skeleton, Time } from "../components/basics";
import { attempt, confirm, Dialog } from "../components/dialog";
import { Table } from "../components/table";
import { integer } from "../format";
import { useLive } from "../live";
import { t } from "../texts";
import type { Token } from "../types";

interface Web {
  password_set_at: string | null;
  sessions: number;
  tokens: number;
}

export function Access() {
  const [making, setMaking] = useState(false);
  const [changing, setChanging] = useState(false);
  const admin = may("admin");
  const web = useLive<Web | undefined>((signal) => (admin ? get("/api/web", signal) : Promise.resolve(undefined)), []);
  const tokens = useLive<{ tokens: Token[] }>((signal) => (admin ? get("/api/tokens", signal) : Promise.resolve({ tokens: [] })), []);
  if (!admin) return <Empty title={t.system.admin} />;
  const error = web.error ?? tokens.error;
  if (error) return <Problem error={error} retry={web.error ? web.reload : tokens.reload} />;
  if (!web.data || !tokens.data) return <Skeleton />;
  const revoke = async ({ id, name }: Token) => {
    if (!(await confirm({ title: t.system.revokeTitle(name), text: t.system.revokeText, yes: t.system.revoke }))) return;
    const before = tokens.data!;
    tokens.set({ tokens: before.tokens.filter((token) => token.id !== id) });
    await attempt(() => remove(`/api/tokens/${id}`).then(() => true), t.system.revoked, () => tokens.set(before));
  };
  return (
    <>
      <Card title={t.system.tabs.access}>
        <dl class="facts">
          <div>
            <dt>{t.system.passwordSet}</dt>
            <dd>
              <Time at={web.data.password_set_at} />
            </dd>
          </div>
          <div>
            <dt>{t.system.browsers}</dt>
            <dd class="number">{integer(web.data.sessions)}</dd>
          </div>
        </dl>
        <div class="row">
          <button type="button" onClick={() => setChanging(true)}>
            {t.system.changePassword}
          </button>
          <Command text="sudo assistantctl web password" />
        </div>
      </Card>
      <Card
        title={t.system.tokens}
        side={
          <button type="button" class="small" onClick={() => setMaking(true)}>
            {t.system.newToken}
          </button>
        }
      >
        {tokens.data.tokens.length === 0 ? (
          <p class="faint">{t.system.noTokens}</p>
        ) : (
          <Table label={t.system.tokens} head={[t.system.token, t.system.role, t.system.tokenAllow, t.system.tokenUsed, t.system.tokenEnds, t.system.revoke]}>
            {tokens.data.tokens.map((token) => (
              <tr key={token.id}>
                <th scope="row">{token.name}</th>
                <td>{token.role}</td>
                <td>{token.allow.length ? token.allow.map((rule) => <div key={rule}><code>{rule}</code></div>) : t.system.tokenAll}</td>
                <td>{token.last_used_at ? <Time at={token.last_used_at} /> : t.system.never}</td>
                <td>{token.expires_at ? <Time at={token.expires_at} /> : t.system.never}</td>
                <td>
                  <button type="button" class="danger small" onClick={() => revoke(token)} aria-label={t.system.revokeTitle(token.name)}>
                    {t.system.revoke}
                  </button>
                </td>
              </tr>
            ))}
          </Table>
        )}
        <Command text="assistantctl token create NAME" />
      </Card>
      {changing && <NewPassword known={web.data.password_set_at !== null} close={() => setChanging(false)} />}
      {making && (
        <NewToken
          close={() => {
            setMaking(false);
            tokens.reload();
          }}
        />
      )}
    </>
  );
}

/** Characters of a password at least. */
const LEAST = 12;

/** Whoever changes it has to know it, if there is one; after that every browser has to log in again. */
function NewPassword({ known, close }: { known: boolean; close: () => void }) {
  const [present, setPresent] = useState("");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const differs = again !== "" && password !== again;
  const change = async () => {
    if (password !== again || busy) return;
    setBusy(true);
    try {
      await request("PUT", "/api/web/password", { password, ...(known && { present }) });
      location.assign("/login");
    } catch (err) {
      setError(err as ApiError);
      setBusy(false);
    }
  };
  return (
    <Dialog title={t.system.changePassword} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void change();
        }}
      >
        {known && (
          <Field label={t.system.presentPassword}>
            <input type="password" required autofocus autocomplete="current-password" value={present} onInput={(event) => setPresent(event.currentTarget.value)} />
          </Field>
        )}
        <Field label={t.system.newPassword} hint={t.system.newPasswordHint(LEAST)}>
          <input type="password" required minLength={LEAST} autofocus={!known} autocomplete="new-password" value={password} onInput={(event) => setPassword(event.currentTarget.value)} />
        </Field>
        <Field label={t.system.againPassword}>
          <input type="password" required autocomplete="new-password" aria-invalid={differs} value={again} onInput={(event) => setAgain(event.currentTarget.value)} />
        </Field>
        <p role="status">{differs && t.system.notTheSame}</p>
        <p class="faint">{t.system.passwordText}</p>
        {error && <Problem error={error} />}
        <footer>
          <button type="submit" class="primary" disabled={busy}>
            {t.system.changePassword}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

function NewToken({ close }: { close: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState("operator");
  const [days, setDays] = useState("");
  const [routes, setRoutes] = useState("");
  const [secret, setSecret] = useState<string>();
  const [error, setError] = useState<ApiError>();
  const make = async () => {
    const allow = routes.split("\n").map((line) => line.trim()).filter(Boolean);
    const end = days && new Date(Date.now() + Number(days) * 86_400_000).toISOString();
    try {
      const made = await post<{ secret: string }>("/api/tokens", { name, role, allow, ...(end && { expires_at: end }) });
      setSecret(made.secret);
    } catch (err) {
      setError(err as ApiError);
    }
  };
  return (
    <Dialog title={t.system.newToken} close={close}>
      {secret ? (
        <>
          <p>{t.system.tokenOnce}</p>
          <Command text={secret} />
        </>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void make();
          }}
        >
          <div class="columns">
            <Field label={t.system.tokenName}>
              <input type="text" required maxLength={64} autofocus value={name} onInput={(event) => setName(event.currentTarget.value)} />
            </Field>
            <Field label={t.system.role}>
              <select value={role} onChange={(event) => setRole(event.currentTarget.value)}>
                <option>viewer</option>
                <option>operator</option>
                <option>admin</option>
              </select>
            </Field>
          </div>
          <Field label={t.system.tokenRoutes}>
            <textarea rows={3} value={routes} placeholder="POST /api/jobs" onInput={(event) => setRoutes(event.currentTarget.value)} />
          </Field>
          <Field label={t.system.tokenDays}>
            <input type="number" min={1} max={3650} value={days} onInput={(event) => setDays(event.currentTarget.value)} />
          </Field>
          {error && <Problem error={error} />}
          <footer>
            <button type="submit" class="primary">
              {t.system.tokenMake}
            </button>
          </footer>
        </form>
      )}
    </Dialog>
  );
}
