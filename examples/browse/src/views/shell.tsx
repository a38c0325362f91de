import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Workspace } from "../state/workspace.ts";
import { ArrivalNotice } from "./arrival-notice.tsx";
import { CostPanel } from "./cost-panel.tsx";
import { Detail } from "./detail.tsx";
import { DropTarget } from "./drop-target.tsx";
import { Facets } from "./facets.tsx";
import { Failure } from "./failure.tsx";
import { Grid } from "./grid.tsx";
import { MapView } from "./map-view.tsx";
import { isNarrow } from "./narrow.ts";
import { StatusBar } from "./status-bar.tsx";
import { Timeline } from "./timeline.tsx";
import { Toolbar } from "./toolbar.tsx";
import { Topbar } from "./topbar.tsx";

/** An open dataset: bar, filters, records, details, and the panels below. */
export function Shell({ workspace }: { workspace: Workspace }) {
  const { panel, selected, view, failure, records } = workspace;
  const areFiltersOpen = useSignal(false);
  useEffect(() => {
    document.title = `${workspace.travels.base.name} · DreamDB Browse`;
    return () => {
      document.title = "DreamDB Browse";
    };
  }, [workspace]);
  useSignalEffect(() => {
    if (!isNarrow.value) areFiltersOpen.value = false;
  });
  const isCovered = isNarrow.value && (selected.value !== undefined || areFiltersOpen.value);
  const failed = failure.value ?? records.value.failure.value;
  return (
    <div class={`shell${selected.value === undefined ? "" : " has-detail"}`}>
      <a class="skip" href="#results">
        Skip to the records
      </a>
      <Topbar workspace={workspace} isInert={isCovered} />
      <Facets workspace={workspace} isOpen={areFiltersOpen} />
      <main class="main" id="results" tabIndex={-1} inert={isCovered}>
        <Toolbar workspace={workspace} areFiltersOpen={areFiltersOpen} />
        <ArrivalNotice workspace={workspace} />
        {failed !== undefined && (
          <Failure
            error={failed}
            onRetry={() => void workspace.retry()}
            onClose={() => workspace.dismiss()}
          />
        )}
        {view.value === "map" && workspace.shape.value.map !== undefined ? (
          <MapView workspace={workspace} />
        ) : (
          <Grid workspace={workspace} />
        )}
      </main>
      <Detail workspace={workspace} />
      <footer class="foot" inert={isCovered}>
        {panel.value === "timeline" && <Timeline workspace={workspace} />}
        {panel.value === "cost" && <CostPanel workspace={workspace} />}
        <StatusBar workspace={workspace} />
      </footer>
      <DropTarget workspace={workspace} />
    </div>
  );
}
