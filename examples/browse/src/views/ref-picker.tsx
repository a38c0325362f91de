import { adviceFor } from "../state/advice.ts";
import { open } from "../state/application.ts";
import { parseDatasetUrl, shortAddress } from "../state/dataset-url.ts";
import type { Workspace } from "../state/workspace.ts";
import { Icon } from "./icon.tsx";

/** Branches and snapshots of the bucket; those of other datasets that lie in it are among them. */
export function RefPicker({ workspace: { travels } }: { workspace: Workspace }) {
  const { base, url, refs, refsFailure } = travels;
  const all = refs.value ?? [];
  const { backend, name: opened, manifest } = parseDatasetUrl(url) ?? {};
  const isListed = opened !== undefined && all.some(({ name }) => name === base.name);
  const group = (type: "branch" | "tag") =>
    all.filter((ref) => (type === "branch") === (ref.type === "branch"));
  const failed = refsFailure.value;
  const title =
    failed === undefined ? "Branch or snapshot" : `Others can't be listed: ${adviceFor(failed).message}`;
  return (
    <div class="ref-picker" title={title}>
      <Icon name="branch" />
      <select
        aria-label="Branch or snapshot"
        aria-describedby={failed === undefined ? undefined : "refs-failure"}
        value={base.name}
        onChange={({ currentTarget: { value } }) => void open(`${backend}/refs/${value}`)}
      >
        {!isListed && (
          <option value={base.name}>{manifest === undefined ? base.name : shortAddress(manifest)}</option>
        )}
        {(["branch", "tag"] as const).map(
          (type) =>
            group(type).length > 0 && (
              <optgroup key={type} label={type === "branch" ? "Branches" : "Snapshots"}>
                {group(type).map(({ name }) => (
                  <option key={name} value={name}>
                    {name}
                  </option>
                ))}
              </optgroup>
            ),
        )}
      </select>
      {failed !== undefined && (
        <span id="refs-failure" class="unseen">
          {title}
        </span>
      )}
    </div>
  );
}
