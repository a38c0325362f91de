import { start } from "../state/application.ts";
import type { Workspace } from "../state/workspace.ts";
import { Icon } from "./icon.tsx";
import { RefPicker } from "./ref-picker.tsx";
import { SearchBox } from "./search-box.tsx";
import { ThemeButton } from "./theme-button.tsx";

export function Topbar({ workspace, isInert }: { workspace: Workspace; isInert: boolean }) {
  return (
    <header class="topbar" inert={isInert}>
      <button
        type="button"
        class="brand"
        onClick={start}
        aria-label="Open another dataset"
        title="Open another dataset"
      >
        <img src="./icon.svg" alt="" width="26" height="26" />
      </button>
      <RefPicker workspace={workspace} />
      <SearchBox workspace={workspace} />
      <div class="topbar-end">
        <button type="button" class="button quiet open-other" onClick={start}>
          <Icon name="data" />
          <span>Open…</span>
        </button>
        <ThemeButton />
      </div>
    </header>
  );
}
