/** The chainable description of a dataset's records. */
import { DreamDBError } from "../errors.ts";
import {
  type Algorithm,
  FIELD_NAME,
  type FieldSpec,
  type MediaKind,
  type ScalarKind,
} from "../objects/field.ts";
import { MAX_DIM, MAX_LSH_BITS } from "../objects/spatial-index.ts";

const MIME = /^[a-z0-9][a-z0-9-]{0,63}$/;
const ALGORITHMS: readonly string[] = ["dreamdb.lsh-cosine", "dreamdb.ivf-cosine"];
/** Cells of `lsh-cosine` are patterns of this many hyperplanes unless the caller says otherwise. */
const DEFAULT_LSH_BITS = 12;

/** What an appended record may hold under a field, and what a read gives back. */
export interface Column<In, Out> {
  in: In;
  out: Out;
}

/** Names and value types of a schema's fields; `R` marks the ones every record must have. */
export interface FieldType<C extends Column<unknown, unknown>, R extends boolean> {
  column: C;
  required: R;
}
export type FieldTypes = Record<string, FieldType<Column<unknown, unknown>, boolean>>;

/** A dataset whose schema is not known to the compiler. */
// biome-ignore lint/suspicious/noExplicitAny: record types come from the stored schema
export type AnyFields = any;

type Names<F extends FieldTypes, R extends boolean> = {
  [K in keyof F]: F[K]["required"] extends R ? K : never;
}[keyof F];
type Flatten<T> = { [K in keyof T]: T[K] };

/** A record as `appendMany` takes it. */
export type RecordIn<F extends FieldTypes> = Flatten<
  { [K in Names<F, true>]: F[K]["column"]["in"] } & {
    [K in Names<F, false>]?: F[K]["column"]["in"] | null | undefined;
  } & {
    /** Unix nanoseconds; on every record of a call or on none. */
    _anchor?: bigint;
  }
>;

/** A record as `get` gives it. */
export type RecordOut<F extends FieldTypes> = Flatten<
  { _anchor: bigint } & { [K in Names<F, true>]: F[K]["column"]["out"] } & {
    [K in Names<F, false>]?: F[K]["column"]["out"];
  }
>;

/** Rows as columns: `batch.label[i]` belongs to the record at `batch._time_anchors[i]`. */
export type Batch<F extends FieldTypes> = Flatten<
  { _time_anchors: bigint[] } & {
    [K in keyof F]: (F[K]["required"] extends true
      ? F[K]["column"]["out"]
      : F[K]["column"]["out"] | undefined)[];
  }
>;

type Bytes = Column<Uint8Array, Uint8Array>;
type Vector = Column<number[] | Float32Array, Float32Array>;
type Text = Column<string, string>;
/** Text that filters compare for equality alone. */
type Category = Text & { orderless: true };
type Bool = Column<boolean, boolean>;
type Int = Column<number | bigint, number | bigint>;
type Float = Column<number, number>;
type Timestamp = Column<number | bigint | Date, bigint>;

type Add<
  F extends FieldTypes,
  N extends string,
  C extends Column<unknown, unknown>,
  R extends boolean,
> = Schema<F & Record<N, FieldType<C, R>>>;

export interface FieldOptions<R extends boolean = boolean> {
  /** Whether every record must have a value. Default true. */
  required?: R;
}

export interface ScalarOptions<R extends boolean = boolean> extends FieldOptions<R> {
  /** Whether appends also write an index of the values, which filters use. Default false. */
  index?: boolean;
}

export interface MediaOptions<R extends boolean = boolean> extends FieldOptions<R> {
  /** The format of the bytes, such as "jpeg" or "png". */
  mime?: string;
}

export interface EmbeddingOptions<R extends boolean = boolean> extends FieldOptions<R> {
  /** Components of every vector, 1–65,536. */
  dim: number;
  /** `dreamdb.ivf-cosine` (default; exact until it is built) or `dreamdb.lsh-cosine` (needs no training). */
  algorithm?: Algorithm;
  /** Hyperplanes of `lsh-cosine`, 1–24; there are 2^lshBits cells. Default 12. */
  lshBits?: number;
  /** Whether cells carry the full vectors, so that re-ranking needs no second read. Default true. */
  rerank?: boolean;
  /** Not in this version. */
  compressor?: undefined;
  /** Not in this version. */
  spatialIndex?: undefined;
}

/**
 * Declares the fields of a dataset's records. Every `add…` returns a new Schema; `Schema` itself never changes.
 * Errors: `SchemaViolation` for a name, option or combination that can't be.
 */
// biome-ignore lint/complexity/noBannedTypes: {} is the type of no fields at all
export class Schema<F extends FieldTypes = {}> {
  readonly fields: readonly FieldSpec[];

  constructor(fields: readonly FieldSpec[] = []) {
    this.fields = fields;
  }

  /** Encoded image bytes. */
  addImage<N extends string, R extends boolean = true>(
    name: N,
    options: MediaOptions<R> = {},
  ): Add<F, N, Bytes, R> {
    return this.media(name, "image", "jpeg", options);
  }

  /** Encoded video bytes. */
  addVideo<N extends string, R extends boolean = true>(
    name: N,
    options: MediaOptions<R> = {},
  ): Add<F, N, Bytes, R> {
    return this.media(name, "video", "mp4", options);
  }

  /** Encoded audio bytes. */
  addAudio<N extends string, R extends boolean = true>(
    name: N,
    options: MediaOptions<R> = {},
  ): Add<F, N, Bytes, R> {
    return this.media(name, "audio", "wav", options);
  }

  /** A vector of `dim` f32, searchable by cosine. */
  addEmbedding<N extends string, R extends boolean = true>(
    name: N,
    options: EmbeddingOptions<R>,
  ): Add<F, N, Vector, R> {
    const {
      dim,
      algorithm = "dreamdb.ivf-cosine",
      lshBits = DEFAULT_LSH_BITS,
      rerank = true,
    } = options ?? {};
    if (!Number.isInteger(dim) || dim < 1 || dim > MAX_DIM)
      throw violation(`${name}.dim`, dim, `an integer from 1 to ${MAX_DIM}`);
    if (!ALGORITHMS.includes(algorithm))
      throw violation(`${name}.algorithm`, algorithm, ALGORITHMS.join(" or "));
    if (!Number.isInteger(lshBits) || lshBits < 1 || lshBits > MAX_LSH_BITS) {
      throw violation(`${name}.lshBits`, lshBits, `an integer from 1 to ${MAX_LSH_BITS}`);
    }
    if (typeof rerank !== "boolean") throw violation(`${name}.rerank`, rerank, "true or false");
    for (const key of ["compressor", "spatialIndex"] as const) {
      if (options[key] !== undefined)
        throw violation(`${name}.${key}`, options[key], "nothing: not in this version");
    }
    const bits = algorithm === "dreamdb.lsh-cosine" ? lshBits : 0;
    return this.add({
      ...this.base(name, options),
      kind: "embedding",
      dim,
      algorithm,
      lshBits: bits,
      rerank,
    });
  }

  /** Text with few distinct values, such as labels or splits; stored through a dictionary. */
  addScalarCategorical<N extends string, R extends boolean = true>(
    name: N,
    options: ScalarOptions<R> = {},
  ): Add<F, N, Category, R> {
    return this.scalar(name, "categorical", options);
  }

  addScalarBool<N extends string, R extends boolean = true>(
    name: N,
    options: ScalarOptions<R> = {},
  ): Add<F, N, Bool, R> {
    return this.scalar(name, "bool", options);
  }

  /** A signed 64-bit integer; reads give a number where it is exact, a bigint beyond. */
  addScalarInt<N extends string, R extends boolean = true>(
    name: N,
    options: ScalarOptions<R> = {},
  ): Add<F, N, Int, R> {
    return this.scalar(name, "int", options);
  }

  /** A finite 64-bit float. */
  addScalarFloat<N extends string, R extends boolean = true>(
    name: N,
    options: ScalarOptions<R> = {},
  ): Add<F, N, Float, R> {
    return this.scalar(name, "float", options);
  }

  /** Free text. */
  addScalarString<N extends string, R extends boolean = true>(
    name: N,
    options: ScalarOptions<R> = {},
  ): Add<F, N, Text, R> {
    return this.scalar(name, "string", options);
  }

  /** Unix nanoseconds; a Date is taken as milliseconds. Reads give a bigint. */
  addScalarTimestamp<N extends string, R extends boolean = true>(
    name: N,
    options: ScalarOptions<R> = {},
  ): Add<F, N, Timestamp, R> {
    return this.scalar(name, "timestamp", options);
  }

  private media<N extends string, R extends boolean>(
    name: N,
    kind: MediaKind,
    fallback: string,
    options: MediaOptions<R>,
  ): Add<F, N, Bytes, R> {
    const mime = options.mime ?? fallback;
    if (typeof mime !== "string" || !MIME.test(mime))
      throw violation(`${name}.mime`, mime, 'a format such as "jpeg" or "png"');
    return this.add({ ...this.base(name, options), kind, mime });
  }

  private scalar<N extends string, C extends Column<unknown, unknown>, R extends boolean>(
    name: N,
    kind: ScalarKind,
    options: ScalarOptions<R>,
  ): Add<F, N, C, R> {
    const index = options.index ?? false;
    if (typeof index !== "boolean") throw violation(`${name}.index`, index, "true or false");
    return this.add({ ...this.base(name, options), kind, ...(index ? { index } : {}) });
  }

  private base(name: string, options: FieldOptions): { id: number; name: string; required: boolean } {
    if (typeof name !== "string" || !FIELD_NAME.test(name)) {
      throw violation("name", name, "a letter, then up to 127 letters, digits, '_', '.' or '-'");
    }
    if (this.fields.some((field) => field.name === name))
      throw violation("name", name, "a name not used before");
    const required = options.required ?? true;
    if (typeof required !== "boolean") throw violation(`${name}.required`, required, "true or false");
    return { id: this.fields.length, name, required };
  }

  private add<N extends string, C extends Column<unknown, unknown>, R extends boolean>(
    field: FieldSpec,
  ): Add<F, N, C, R> {
    return new Schema([...this.fields, field]);
  }
}

function violation(field: string, found: unknown, expected: unknown): DreamDBError {
  return new DreamDBError("SchemaViolation", "this schema can't be", { field, found, expected });
}
