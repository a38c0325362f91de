import { announcement } from "../state/announce.ts";
import { stage } from "../state/application.ts";
import { Shell } from "./shell.tsx";
import { Start } from "./start.tsx";

export function Application() {
  const now = stage.value;
  return (
    <>
      {now.is === "open" ? (
        <Shell key={now.workspace.travels.url} workspace={now.workspace} />
      ) : (
        <Start stage={now} />
      )}
      <div class="unseen" role="status" aria-live="polite">
        {announcement}
      </div>
    </>
  );
}
