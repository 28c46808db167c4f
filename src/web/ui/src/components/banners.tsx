// What stands on every page above all else: only what endangers.

import { useEffect } from "preact/hooks";
import { bytes } from "../format";
import { t } from "../texts";
import type { Status, StreamEvent } from "../types";
import { Icon } from "./icons";

/** Whether after this a banner may be another: how a run or a command of it ended tells of the model and of the sandbox. */
export function concerns({ kind, data }: StreamEvent): boolean {
  if (kind === "job.log") return data.event_type === "error" || (data.event_type === "tool_result" && data.tool_name === "command_execute");
  return ["stop", "resume", "config.reloaded", "job.status"].includes(kind);
}

interface Line {
  text: string;
  /** Where more is said of it. */
  address?: string;
}

export function Banners({ status, reload }: { status: Status; reload: () => void }) {
  const pauses = status.models.flatMap(({ paused_seconds }) => paused_seconds ?? []);
  // No event says that a model may be asked again: its pause is over when its time is.
  useEffect(() => {
    if (!pauses.length) return;
    const timer = setTimeout(reload, (Math.min(...pauses) + 1) * 1000);
    return () => clearTimeout(timer);
  }, [status]);
  const shown = lines(status);
  return (
    <div class="banners" role="region" aria-label={t.banner.label} hidden={shown.length === 0}>
      {shown.map(({ text, address }) => (
        <p key={text}>
          <Icon name="warning" /> {text} {address && <a href={address}>{t.banner.look}</a>}
        </p>
      ))}
    </div>
  );
}

/** Warnings about who can come in. */
const DANGERS = /public|login|auth|docs|openapi|certificate/;

function lines({ stopped, disk, database, workspace, warnings, models, sandbox }: Status): Line[] {
  const lines: Line[] = [];
  if (stopped) lines.push({ text: t.banner.stopped(stopped.by) });
  if (disk.low) lines.push({ text: t.banner.disk(bytes(disk.free_bytes)) });
  if (database.problem) lines.push({ text: t.banner.database(database.problem) });
  if (workspace.problem) lines.push({ text: t.banner.workspace(workspace.problem) });
  // One that has several roles is one model.
  const ailing = new Map(models.filter(({ problem }) => problem).map((model) => [`${model.host} ${model.model}`, model]));
  for (const { model, role, problem } of ailing.values()) lines.push({ text: t.banner.model(model || role, problem!), address: "/admin/system/models" });
  // Why each backend was not taken would fill a phone; it stands where the link leads.
  const problem = sandbox.enabled && (sandbox.problem && sandbox.refused.length ? t.banner.noBackend : sandbox.problem);
  if (problem) lines.push({ text: t.banner.sandbox(problem), address: "/admin/system/sandbox" });
  for (const { name, text, mend } of warnings) if (DANGERS.test(name)) lines.push({ text: `${text}. ${mend}` });
  return lines;
}
