/** The chainable description of a dataset's records. */
import { type Address, isAddress } from "../core/address.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import {
  type Algorithm,
  type CompressorSpec,
  DEFAULT_PQ_BITS,
  DEFAULT_RABITQ_BITS,
  type EmbeddingField,
  FIELD_NAME,
  type FieldSpec,
  isCompressible,
  type MediaKind,
  type ScalarKind,
} from "../objects/field.ts";
import { type Metric, metricOf } from "../objects/metric.ts";
import {
  decodeSpatialIndex,
  encodeSpatialIndex,
  MAX_DIM,
  MAX_LSH_BITS,
  MAX_LSH_TABLES,
  type SpatialIndex,
} from "../objects/spatial-index.ts";
import { MAX_RABITQ_BITS, maxSubspaces } from "../objects/vector-compressor.ts";

const MIME = /^[a-z0-9][a-z0-9-]{0,63}$/;
const ALGORITHMS: readonly string[] = [
  "dreamdb.ivf-cosine",
  "dreamdb.ivf-dot",
  "dreamdb.ivf-l2",
  "dreamdb.imi-cosine",
  "dreamdb.lsh-cosine",
  "dreamdb.vamana-cosine",
  "dreamdb.vamana-l2",
] satisfies EmbeddingAlgorithm[];
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

export type EmbeddingAlgorithm = Algorithm;

/** The codes that the cells of a built index carry; names without a metric take that of the index. */
export type CompressorOption =
  | {
      algorithm: "rabitq" | `dreamdb.rabitq-${Metric}` /** Bits a component, 1–8. Default 4. */;
      bits?: number;
    }
  | {
      algorithm: "pq" | `dreamdb.pq-${Metric}`;
      /** Parts that a vector is cut into, up to `dim` and 1,024. */
      subspaces: number;
      /** Bits a part, 4 or 8. Default 8. */
      bits?: 4 | 8;
    };

export interface EmbeddingOptions<R extends boolean = boolean> extends FieldOptions<R> {
  /** Components of every vector, 1–65,536. */
  dim: number;
  /**
   * `dreamdb.ivf-cosine` (default), `dreamdb.ivf-dot`, `dreamdb.ivf-l2` or `dreamdb.imi-cosine`, or the graphs
   * `dreamdb.vamana-cosine` or `dreamdb.vamana-l2`, all exact until they are built; or `dreamdb.lsh-cosine`, which needs
   * no training.
   */
  algorithm?: EmbeddingAlgorithm;
  /** Hyperplanes of `lsh-cosine`, 1–24; there are 2^lshBits cells. Default 12. */
  lshBits?: number;
  /**
   * Hash tables of `lsh-cosine`, 1–16: every row lies in a cell of each. More find more among as many rows, and take as
   * many times the storage. Default 1.
   */
  lshTables?: number;
  /** Whether cells carry the full vectors, so that re-ranking needs no second read. Default true. */
  rerank?: boolean;
  /** Codes of a built index. Default RaBitQ of 4 bits for `ivf-…` and `imi-cosine`; the others can't have any. */
  compressor?: CompressorOption | "none" | undefined;
  /** An index to begin with, such as another dataset's: its address in the same backend, or the object itself. */
  spatialIndex?: Address | SpatialIndex | undefined;
}

/**
 * Declares the fields of a dataset's records. Every `add…` returns a new Schema; `Schema` itself never changes.
 * Errors: `SchemaViolation` for a name, option or combination that can't be.
 */
// biome-ignore lint/complexity/noBannedTypes: {} is the type of no fields at all
export class Schema<F extends FieldTypes = {}> {
  readonly fields: readonly FieldSpec[];
  /** By field id, the index a vector field begins with when it is not the usual one. */
  readonly spatialIndexes: ReadonlyMap<number, Address | SpatialIndex>;

  constructor(
    fields: readonly FieldSpec[] = [],
    spatialIndexes: ReadonlyMap<number, Address | SpatialIndex> = new Map(),
  ) {
    this.fields = fields;
    this.spatialIndexes = spatialIndexes;
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

  /** A vector of `dim` f32, searchable by cosine, by dot product or by Euclidean distance. */
  addEmbedding<N extends string, R extends boolean = true>(
    name: N,
    options: EmbeddingOptions<R>,
  ): Add<F, N, Vector, R> {
    const {
      dim,
      algorithm = "dreamdb.ivf-cosine",
      lshBits = DEFAULT_LSH_BITS,
      lshTables = 1,
      rerank = true,
    } = options ?? {};
    if (!Number.isInteger(dim) || dim < 1 || dim > MAX_DIM)
      throw violation(`${name}.dim`, dim, `an integer from 1 to ${MAX_DIM}`);
    if (!ALGORITHMS.includes(algorithm))
      throw violation(`${name}.algorithm`, algorithm, ALGORITHMS.join(" or "));
    if (algorithm === "dreamdb.imi-cosine" && dim < 2)
      throw violation(
        `${name}.dim`,
        dim,
        `at least 2 with ${algorithm}, a component for each of its codebooks`,
      );
    if (!Number.isInteger(lshBits) || lshBits < 1 || lshBits > MAX_LSH_BITS) {
      throw violation(`${name}.lshBits`, lshBits, `an integer from 1 to ${MAX_LSH_BITS}`);
    }
    if (!Number.isInteger(lshTables) || lshTables < 1 || lshTables > MAX_LSH_TABLES)
      throw violation(`${name}.lshTables`, lshTables, `an integer from 1 to ${MAX_LSH_TABLES}`);
    if (lshTables > 1 && algorithm !== "dreamdb.lsh-cosine")
      throw violation(`${name}.lshTables`, lshTables, `1 with ${algorithm}, which has no hash tables`);
    if (typeof rerank !== "boolean") throw violation(`${name}.rerank`, rerank, "true or false");
    const field: EmbeddingField = {
      ...this.base(name, options),
      kind: "embedding",
      dim,
      algorithm,
      lshBits: algorithm === "dreamdb.lsh-cosine" ? lshBits : 0,
      rerank,
    };
    if (lshTables > 1) field.lshTables = lshTables;
    const compressor = chosenCompressor(field, options.compressor);
    if (compressor !== undefined) field.compressor = compressor;
    const { spatialIndex } = options;
    return this.add(field, spatialIndex === undefined ? undefined : checkedStart(field, spatialIndex));
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
    start?: Address | SpatialIndex,
  ): Add<F, N, C, R> {
    const fields = [...this.fields, field];
    if (start === undefined) return new Schema(fields, this.spatialIndexes);
    return new Schema(fields, new Map([...this.spatialIndexes, [field.id, start]]));
  }
}

/** The `compressor` option, checked and with its name in full. */
function chosenCompressor(
  { name, dim, algorithm }: EmbeddingField,
  option: CompressorOption | "none" | undefined,
): CompressorSpec | "none" | undefined {
  if (option === undefined) return undefined;
  const at = `${name}.compressor`;
  if (!isCompressible(algorithm)) {
    if (option === "none") return undefined;
    const why = `none with ${algorithm}: codes are relative to a cell's centroid, and its cells have none`;
    throw violation(at, option, why);
  }
  if (option === "none") return option;
  if (typeof option !== "object" || option === null)
    throw violation(at, option, '{algorithm: "rabitq" or "pq", …} or "none"');
  const metric = metricOf(algorithm);
  const isNamed = (family: "rabitq" | "pq"): boolean =>
    option.algorithm === family || option.algorithm === `dreamdb.${family}-${metric}`;
  if (isNamed("rabitq")) {
    const bits = option.bits ?? DEFAULT_RABITQ_BITS;
    if (!Number.isInteger(bits) || bits < 1 || bits > MAX_RABITQ_BITS)
      throw violation(`${at}.bits`, bits, `an integer from 1 to ${MAX_RABITQ_BITS}`);
    return { algorithm: `dreamdb.rabitq-${metric}`, bits };
  }
  if (!isNamed("pq") || !("subspaces" in option))
    throw isNamed("pq")
      ? violation(`${at}.subspaces`, undefined, `an integer from 1 to ${maxSubspaces(dim)}`)
      : violation(`${at}.algorithm`, option.algorithm, `dreamdb.rabitq-${metric} or dreamdb.pq-${metric}`);
  const { subspaces, bits = DEFAULT_PQ_BITS } = option;
  if (!Number.isInteger(subspaces) || subspaces < 1 || subspaces > maxSubspaces(dim))
    throw violation(`${at}.subspaces`, subspaces, `an integer from 1 to ${maxSubspaces(dim)}`);
  if (bits !== 4 && bits !== 8) throw violation(`${at}.bits`, bits, "4 or 8");
  return { algorithm: `dreamdb.pq-${metric}`, subspaces, bits };
}

/** The `spatialIndex` option; an address can be followed only when there is a backend. */
function checkedStart(field: EmbeddingField, option: Address | SpatialIndex): Address | SpatialIndex {
  const at = `${field.name}.spatialIndex`;
  if (typeof option === "string") {
    if (isAddress(option)) return option;
    throw violation(at, option, "the address of a SpatialIndex, or the object itself");
  }
  let index: SpatialIndex;
  try {
    index = decodeSpatialIndex(encodeSpatialIndex(option));
  } catch (cause) {
    const found = isDreamDBError(cause) ? cause.message : String(cause);
    throw violation(at, found, "a SpatialIndex as it is stored");
  }
  checkStart(field, index);
  return index;
}

/** Errors: `SchemaViolation` when the index is for other vectors than the field's. */
export function checkStart(field: EmbeddingField, index: SpatialIndex): void {
  const at = `${field.name}.spatialIndex`;
  if (index.dim !== field.dim) throw violation(`${at}.dim`, index.dim, field.dim);
  if (index.algorithm !== field.algorithm)
    throw violation(`${at}.algorithm`, index.algorithm, field.algorithm);
  if (index.algorithm !== "dreamdb.lsh-cosine") return;
  if (index.bits !== field.lshBits) throw violation(`${at}.bits`, index.bits, field.lshBits);
  const { lshTables = 1 } = field;
  if (index.tables !== lshTables) throw violation(`${at}.tables`, index.tables, lshTables);
}

function violation(field: string, found: unknown, expected: unknown): DreamDBError {
  return new DreamDBError("SchemaViolation", "this schema can't be", { field, found, expected });
}
