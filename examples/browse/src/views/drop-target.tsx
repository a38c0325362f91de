import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Workspace } from "../state/workspace.ts";

/** Takes pictures that are dropped anywhere, or pasted. */
export function DropTarget({ workspace }: { workspace: Workspace }) {
  const isOver = useSignal(false);
  const takesPictures = workspace.shape.value.vectors.some((field) => field.takesPictures);
  useEffect(() => {
    if (!takesPictures) return;
    const pictureIn = (data: DataTransfer | null) =>
      [...(data?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    const over = (event: DragEvent) => {
      if (event.dataTransfer?.types.includes("Files") !== true) return;
      event.preventDefault();
      isOver.value = true;
    };
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) isOver.value = false;
    };
    const drop = (event: DragEvent) => {
      isOver.value = false;
      const file = pictureIn(event.dataTransfer);
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
      if (file !== undefined) workspace.askPicture(file, file.name);
    };
    const paste = ({ clipboardData }: ClipboardEvent) => {
      const file = pictureIn(clipboardData);
      if (file !== undefined) workspace.askPicture(file, "that was pasted");
    };
    addEventListener("dragover", over);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    addEventListener("paste", paste);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("dragleave", leave);
      removeEventListener("drop", drop);
      removeEventListener("paste", paste);
    };
  }, [workspace, takesPictures]);
  return isOver.value ? <div class="drop-target">Search by this picture</div> : null;
}
