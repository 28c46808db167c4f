// The page where a person logs in, with the password or by a link that is good once.

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, get, post } from "./api";
import { Command, Problem } from "./components/basics";
import { Icon } from "./components/icons";
import { t } from "./texts";
import { applyTheme } from "./theme";
import type { Session } from "./types";

/** Where to after the login: where one wanted to be. */
function enter({ pages }: Session) {
  if (location.pathname === "/login") location.replace(pages.dashboard ? "/admin" : "/workspace");
  else location.reload();
}

function Login() {
  const [password, setPassword] = useState("");
  const [error, setError] = useState<ApiError>();
  const [working, setWorking] = useState<"" | "password" | "link">("");

  const log_in = async (how: "password" | "link", body: object) => {
    setWorking(how);
    setError(undefined);
    try {
      enter(await post<Session>("/api/login", body));
    } catch (err) {
      setError(err as ApiError);
      setWorking("");
    }
  };

  useEffect(() => {
    document.title = t.page(t.login.title);
    const once = new URLSearchParams(location.hash.slice(1)).get("once");
    if (once) {
      // Out of the address first: it is not to stay in the history.
      history.replaceState(null, "", location.pathname + location.search);
      void log_in("link", { once });
      return;
    }
    // Who came by a link of another site is logged in all the same; the cookie is sent from here on.
    const tried = sessionStorage.getItem("entered") === location.href;
    sessionStorage.removeItem("entered");
    if (!tried)
      get<Session>("/api/session").then(
        (session) => {
          sessionStorage.setItem("entered", location.href);
          enter(session);
        },
        () => {},
      );
  }, []);

  return (
    <main class="login">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          void log_in("password", { password });
        }}
      >
        <h1>
          <img src={new URL("./icon.svg", import.meta.url).pathname} alt="" width="28" height="28" /> {t.app}
        </h1>
        {working === "link" ? (
          <p role="status">{t.login.link}</p>
        ) : (
          <>
            <label class="field">
              <span>{t.login.password}</span>
              <input
                type="password"
                name="password"
                autocomplete="current-password"
                required
                autofocus
                value={password}
                onInput={(event) => setPassword(event.currentTarget.value)}
              />
            </label>
            <button type="submit" class="primary" disabled={working !== ""}>
              <Icon name="person" /> {working ? t.login.working : t.login.submit}
            </button>
          </>
        )}
        {error && <Problem error={error} />}
        <p class="faint">
          {t.login.first}
          <br />
          <Command text="sudo assistantctl web password" />
          <br />
          {t.login.forgotten}
        </p>
      </form>
    </main>
  );
}

applyTheme();
render(<Login />, document.getElementById("app")!);
