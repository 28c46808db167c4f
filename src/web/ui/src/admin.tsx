// The dashboard: who is there, the stream of events, and the page that the address names.

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, pages, whoami } from "./api";
import { Problem, Skeleton } from "./components/basics";
import { Boundary } from "./components/boundary";
import { Frame } from "./components/frame";
import { connect } from "./events";
import { EffectsPage } from "./pages/effects";
import { JobPage } from "./pages/job";
import { JobsPage } from "./pages/jobs";
import { MailPage } from "./pages/mail";
import { OutgoingPage, ReceivedPage } from "./pages/message";
import { OverviewPage } from "./pages/overview";
import { SystemPage } from "./pages/system";
import { followLinks, go, usePlace } from "./router";
import { t } from "./texts";
import { applyTheme } from "./theme";

/** The files weigh more than all the rest: they come when they are asked for. */
function Files({ query }: { query: URLSearchParams }) {
  const [loaded, set] = useState<typeof import("./files/page") | "failed">();
  useEffect(() => {
    import("./files/page").then(set, () => set("failed"));
  }, []);
  if (loaded === "failed") {
    const error = new ApiError(0, "unreachable", t.error.unreachable, t.error.unreachableHint, undefined);
    return <Problem error={error} retry={() => location.reload()} />;
  }
  return loaded ? <loaded.FilesPage query={query} /> : <Skeleton lines={10} />;
}

function Page() {
  const { path, query } = usePlace();
  if (path === "/workspace") return <Files query={query} />;
  const parts = path.split("/").slice(2);
  switch (parts[0]) {
    case undefined:
      return <OverviewPage />;
    case "jobs":
      return parts[1] ? <JobPage key={parts[1]} id={Number(parts[1])} query={query} /> : <JobsPage query={query} />;
    case "effects":
      return <EffectsPage query={query} />;
    case "mail":
      if (parts[1] === "out") return parts[2] ? <OutgoingPage key={parts[2]} id={Number(parts[2])} /> : <MailPage out query={query} />;
      return parts[1] ? <ReceivedPage key={parts[1]} id={Number(parts[1])} /> : <MailPage out={false} query={query} />;
    case "system":
      return <SystemPage tab={parts[1]} query={query} />;
    default:
      return (
        <div class="page">
          <h1>{t.error.notFound}</h1>
          <p>{t.error.notFoundHint}</p>
        </div>
      );
  }
}

function App() {
  const { path } = usePlace();
  return (
    <Frame>
      <Boundary key={path}>
        <Page />
      </Boundary>
    </Frame>
  );
}

async function start() {
  applyTheme();
  const app = document.getElementById("app")!;
  // A job may also be named after a question mark.
  const job = new URLSearchParams(location.search).get("job");
  if (location.pathname === "/") go("/admin" + location.search, { replace: true });
  if (job && /^\d+$/.test(job) && location.pathname === "/admin") go(`/admin/jobs/${job}`, { replace: true });
  try {
    await whoami();
  } catch (err) {
    render(<Problem error={err as ApiError} retry={() => location.reload()} />, app);
    return;
  }
  const on = pages();
  followLinks([...(on.dashboard ? ["/admin"] : []), ...(on.workspace ? ["/workspace"] : [])]);
  connect();
  render(<App />, app);
}

void start();
