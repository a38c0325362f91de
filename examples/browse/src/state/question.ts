/** What can be searched for, and the vector that stands for it. */
import type { DreamDBSpace } from "@dreamlake/dreamdb/space";

export type Question =
  | { by: "text"; field: string; text: string }
  | { by: "picture"; field: string; name: string; blob: Blob; url: string }
  | { by: "record"; field: string; anchor: bigint; title: string };

/** In words, for labels and screen readers. */
export function wordsOf(question: Question): string {
  switch (question.by) {
    case "text":
      return `“${question.text}”`;
    case "picture":
      return `the picture ${question.name}`;
    case "record":
      return question.title === "" ? "this record" : `“${question.title}”`;
  }
}

/** Part of the packaged text model that is there, 0 to 1. */
export type OnProgress = (share: number) => void;

let textModel: Promise<{ embed(text: string): Promise<Float32Array> }> | undefined;

/** The packaged models are loaded when they are first needed: they are larger than all the rest. */
function loadedTextModel(onProgress: OnProgress) {
  textModel ??= import("../models/text.ts").then(({ loadTextModel }) => loadTextModel(onProgress));
  // After a failure the next search tries again.
  textModel.catch(() => {
    textModel = undefined;
  });
  return textModel;
}

/** Errors: `NoSuchRecord`; those of the models and of reading. */
export async function vectorOf(
  question: Question,
  space: DreamDBSpace,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<Float32Array> {
  if (question.by === "text") return (await loadedTextModel(onProgress)).embed(question.text);
  if (question.by === "picture") {
    const { describeImage } = await import("../models/image.ts");
    return describeImage(question.blob);
  }
  const { field, anchor } = question;
  const record = await space.get(anchor, { fields: [field], signal });
  const vector = (record as Record<string, unknown> | undefined)?.[field];
  if (vector instanceof Float32Array) return vector;
  throw new Error("The record that is to be compared has no such vector in the state that is shown.");
}
