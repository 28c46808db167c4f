import { get, may } from "../api";
import { Card, Long, Problem, Skeleton } from "../components/basics";
import { Call, ApprovalBox } from "../components/decide";
import { Icon } from "../components/icons";
import { Table } from "../components/table";
import { useLive } from "../live";
import { setQuery } from "../router";
import { t } from "../texts";
import type { Approval, Setting, Tool } from "../types";

export function Policy({ query }: { query: URLSearchParams }) {
  const open = query.get("tool");
  const settings = useLive<{ settings: Setting[] }>((signal) => get("/api/config", signal), [], ({ kind }) => kind === "config.reloaded");
  const tools = useLive<{ tools: Tool[] }>((signal) => get("/api/tools", signal), [], ({ kind }) => kind === "config.reloaded");
  const approvals = useLive<{ approvals: Approval[] }>(
    (signal) => (may("operator") ? get("/api/approvals", signal) : Promise.resolve({ approvals: [] })),
    [],
    ({ kind }) => kind === "approval",
  );
  const error = settings.error ?? tools.error;
  if (error) return <Problem error={error} retry={settings.error ? settings.reload : tools.reload} />;
  if (!settings.data || !tools.data) return <Skeleton lines={8} />;
  const rules = settings.data.settings.filter(({ key }) => key.startsWith("policy."));
  const pending = approvals.data?.approvals ?? [];
  return (
    <>
      {pending.length > 0 && (
        <Card title={t.status.needs_review} class="needs">
          {pending.map((approval) => (
            <article key={approval.id}>
              <a href={`/admin/jobs/${approval.job_id}`}>{t.job.title(approval.job_id)}</a>
              <ApprovalBox approval={approval} done={approvals.reload} />
            </article>
          ))}
        </Card>
      )}
      <Card title={t.system.policyKeys}>
        <Table label={t.system.policyKeys} head={[t.system.key, t.system.value, t.system.setBy]}>
          {rules.map(({ key, value, origin, doc }) => (
            <tr key={key}>
              <th scope="row" title={doc}>
                <code>{key}</code>
              </th>
              <td>
                <code>{JSON.stringify(value)}</code>
              </td>
              <td class="faint">{origin}</td>
            </tr>
          ))}
        </Table>
      </Card>
      <Card title={t.system.toolList} side={<span class="faint number">{tools.data.tools.length}</span>}>
        <ul class="plain ledger">
          {tools.data.tools.map((tool) => (
            <li key={tool.name} class={`step${tool.name === open ? " open" : ""}`}>
              <button type="button" class="line" aria-expanded={tool.name === open} onClick={() => setQuery("tool", tool.name === open ? undefined : tool.name)}>
                <Icon name="chevron" />
                <code>{tool.name}</code>
                <span class="what faint">{tool.description.split("\n")[0]}</span>
                <span class="tag">{tool.access}</span>
              </button>
              {tool.name === open && (
                <div class="detail">
                  <Long text={tool.description} />
                  <Call args={tool.parameters} />
                </div>
              )}
            </li>
          ))}
        </ul>
      </Card>
    </>
  );
}
