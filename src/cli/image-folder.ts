/** A folder of images, with what a labels file says of each. */
import { readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { DreamDBError, type FieldSpec } from "../index.node.ts";
import type { Declaration } from "./declaration.ts";
import { fileError } from "./failure.ts";
import { inferFields } from "./infer.ts";
import { type Labels, readLabels } from "./labels.ts";
import { imageFormatOf, MIXED } from "./media.ts";
import type { Row, Source, SourceOptions, SourceProgress } from "./source.ts";

export interface FolderOptions extends SourceOptions {
  labels: string | undefined;
  /** Whether files that the labels don't name are taken too. */
  allowUnlabelled: boolean;
  note: (text: string) => void;
}

const NAMED_IN_MESSAGES = 3;
const IMAGE = "image";
const FILE = "file";

/** Errors: `NotFound`, `InvalidArgument` for a folder without images or with files that have no label. */
export async function openImageFolder(folder: string, options: FolderOptions): Promise<Source> {
  const files = await imagesBelow(folder);
  if (files.length === 0) {
    throw new DreamDBError("InvalidArgument", "there are no images in this folder", {
      field: "source",
      found: folder,
      expected: "png, jpg, jpeg, gif or webp files",
    });
  }
  const labels = options.labels === undefined ? undefined : await readLabels(options.labels);
  if (labels !== undefined) compare(files, labels, options);
  return new ImageFolder(folder, files, labels, options);
}

/** Paths below the folder with "/" between, in code-point order; hidden files are left out, linked folders too. */
async function imagesBelow(folder: string): Promise<string[]> {
  const found: string[] = [];
  const waiting = [""];
  for (let inside = waiting.pop(); inside !== undefined; inside = waiting.pop()) {
    const path = join(folder, inside);
    const entries = await readdir(path, { withFileTypes: true }).catch((error: unknown) => {
      throw fileError(error, path);
    });
    for (const entry of entries) {
      if (entry.name.startsWith(".")) continue;
      const below = inside === "" ? entry.name : `${inside}/${entry.name}`;
      if (entry.isDirectory()) waiting.push(below);
      else if (
        imageFormatOf(entry.name) !== undefined &&
        (entry.isFile() || (await isLinkedFile(join(folder, below))))
      )
        found.push(below);
    }
  }
  return found.sort();
}

async function isLinkedFile(path: string): Promise<boolean> {
  const target = await stat(path).catch((error: unknown) => {
    throw fileError(error, path);
  });
  return target.isFile();
}

function compare(files: readonly string[], labels: Labels, options: FolderOptions): void {
  const bare = files.filter((file) => !labels.has(file));
  if (bare.length > 0 && !options.allowUnlabelled) {
    throw new DreamDBError(
      "InvalidArgument",
      `${bare.length} of ${files.length} files have no label; --allow-unlabelled takes them anyway`,
      {
        field: "labels",
        found: shortened(bare),
        expected: "a row for each file",
      },
    );
  }
  const present = new Set(files);
  const unused = [...labels.keys()].filter((file) => !present.has(file));
  if (unused.length > 0)
    options.note(`note: ${unused.length} labels name no file here: ${shortened(unused)}`);
}

function shortened(names: readonly string[]): string {
  const shown = names.slice(0, NAMED_IN_MESSAGES).join(", ");
  return names.length > NAMED_IN_MESSAGES ? `${shown}, …` : shown;
}

class ImageFolder implements Source {
  readonly base: string;
  readonly progress: SourceProgress;
  private readonly files: readonly string[];
  private readonly labels: Labels | undefined;
  private readonly options: FolderOptions;

  constructor(folder: string, files: readonly string[], labels: Labels | undefined, options: FolderOptions) {
    this.base = resolve(folder);
    this.files = files;
    this.labels = labels;
    this.options = options;
    this.progress = { unit: "files", done: 0, total: files.length };
  }

  async infer(): Promise<Declaration[]> {
    const rows = this.files.map((file) => ({ where: file, values: this.labels?.get(file) ?? {} }));
    const { anchorField } = this.options;
    const labels = await inferFields(rows, { base: this.base, anchorField, text: "categorical" });
    const taken = labels.find(({ name }) => name === IMAGE || name === FILE);
    if (taken !== undefined) {
      throw new DreamDBError("SchemaViolation", "the labels have a column that the folder itself fills", {
        field: taken.name,
        found: taken.name,
        expected: "another name",
      });
    }
    const formats = new Set(this.files.map(imageFormatOf));
    const mime = formats.size === 1 ? (imageFormatOf(this.files[0] as string) as string) : MIXED;
    return [{ name: IMAGE, kind: "image", mime }, { name: FILE, kind: "string" }, ...labels];
  }

  async *rows(fields: readonly FieldSpec[]): AsyncGenerator<Row> {
    const image = imageFieldOf(fields);
    const hasFile = fields.some((field) => field.name === FILE);
    for (const file of this.files) {
      const values = {
        ...this.labels?.get(file),
        [image]: { $file: file },
        ...(hasFile ? { [FILE]: file } : {}),
      };
      yield { where: file, values };
      this.progress.done++;
    }
  }

  async close(): Promise<void> {}
}

/** The only image field of the schema, or the one called "image". */
function imageFieldOf(fields: readonly FieldSpec[]): string {
  const images = fields.filter((field) => field.kind === "image").map((field) => field.name);
  const chosen = images.length === 1 ? images[0] : images.find((name) => name === IMAGE);
  if (chosen !== undefined) return chosen;
  throw new DreamDBError("SchemaViolation", "the schema does not say where images go", {
    field: "schema",
    found: `${images.length} image fields`,
    expected: `one, or one called "${IMAGE}"`,
  });
}
