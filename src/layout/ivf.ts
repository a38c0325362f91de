// Where things stand in the compute core's memory while an IVF index is searched. Read by both AssemblyScript and
// TypeScript; not a stored format. Bytes, u32 unless another type is named; "→" marks an address.

/** Rows of a FastScan block. */
export const BLOCK_ROWS = 32;
/** What follows the M × 16 bytes of look-up codes of a block: 32 × i16 A1, 32 × i16 F1. */
export const BLOCK_FACTOR_BYTES = 128;

// Metrics as the kernels number them.
export const METRIC_COSINE = 0;
export const METRIC_DOT = 1;
export const METRIC_L2 = 2;

// The index.
export const INDEX_METRIC = 0;
export const INDEX_DIM = 4;
export const INDEX_PADDED = 8;
export const INDEX_CELLS = 12;
export const INDEX_BITS = 16; // 0: no RaBitQ codes
export const INDEX_CODE_BYTES = 20; // of a stored code row
export const INDEX_RECORD_BYTES = 24; // stride of the B-bit records; 0 without
export const INDEX_ROTATION_KIND = 28;
export const INDEX_ROTATION_TABLE = 32; // →
export const INDEX_CELL_TABLE = 36; // → cells × CELL_BYTES
export const INDEX_CENTROID_BLOCKS = 44; // → FastScan blocks of the centroids, relative to their mean
export const INDEX_CENTROID_LEVELS = 48; // → cells × levelBytes i16: the centroids, finely quantised
export const INDEX_CENTROID_SQUARES = 52; // → cells × f32: |c|²
export const INDEX_CENTROID_STEP = 56; // f32: a centroid is its levels times this
export const INDEX_ESTIMATES = 60; // → i16 work space: one estimate a row of what is scanned at once
export const INDEX_LISTED = 64; // → u64 work space: candidates waiting to be refined
export const INDEX_ADDRESSES = 68; // → u32 work space: where their records stand
export const INDEX_SCORES = 72; // → f32 work space: their scores
export const INDEX_IDS = 76; // → u32 work space: their places
export const INDEX_RANKED = 80; // → work space of the final order
export const INDEX_UNIT = 88; // f64: 2^−exponent
export const INDEX_PQ_BOOKS = 112; // → packed codebooks; 0: codes are not PQ
export const INDEX_PQ_SUBSPACES = 116;
export const INDEX_PQ_BITS = 120;
export const INDEX_PQ_TABLE = 124; // → f32 work space: a query's inner products with all codewords
export const INDEX_BYTES = 128;

// A cell of the index.
export const CELL_LOADED = 0; // 1 once its rows are there, even if there are none
export const CELL_ROWS = 4;
export const CELL_CAPACITY = 8; // a multiple of 32
export const CELL_BLOCKS = 12; // →
export const CELL_RECORDS = 16; // →
export const CELL_TICKS = 20; // → u64
export const CELL_ORDINALS = 24; // → u32
export const CELL_VECTORS = 28; // → f32 rows × dim; 0 while they are not resident
export const CELL_NORMS = 32; // → f32 inverse norms
export const CELL_ERROR = 36; // f32: mean e1 of its rows
export const CELL_ERROR_SUM = 40; // f64: sum of E1, in units of 2^−16
export const CELL_WILD = 48; // rows whose one-bit factors don't fit: their estimate is 32,767
export const CELL_BYTES = 64;

// A query: what is derived from it, the cells it probes, and the candidates it keeps.
export const QUERY_VECTOR = 0; // → f32 × dim, as given
export const QUERY_POINT = 4; // → f32 × dim: the vector in the index's space
export const QUERY_ROTATED = 8; // → f32 × D
export const QUERY_TABLE = 12; // → M × 16 u8
export const QUERY_LEVELS = 16; // → i16 × D: the rotated query, for the records
export const QUERY_FINE = 20; // → i16 × dim rounded up to 8: the point, for the centroids
export const QUERY_QUANTUM = 24; // i32: the step of the table, in units of √D / 2^15
export const QUERY_MIDDLE = 28; // i32: the sum of table entries that stands for 0
export const QUERY_SHIFT = 32; // estimates are in units of 2^(shift − 14)
export const QUERY_LEVEL_STEP = 36; // f32
export const QUERY_LEVEL_SUM = 40; // f32: the sum of the levels
export const QUERY_FINE_STEP = 44; // f32
export const QUERY_SQUARES = 48; // f32: |point|²
export const QUERY_INVERSE_NORM = 52; // f32, of the vector as given, by the exact scan's arithmetic
export const QUERY_SCALE = 56; // f32: what turns an estimate of ⟨point, y⟩ into the user's units
export const QUERY_COARSE = 60; // 1: the one-bit estimates say enough to drop rows
export const QUERY_SELECTED = 64; // cells selected
export const QUERY_CELLS = 68; // → u32 × selected, nearest first
export const QUERY_CELL_SCORES = 72; // → f32: ⟨point, c⟩
export const QUERY_CELL_DISTANCES = 76; // → f32: |point − c|
export const QUERY_STARTS = 80; // → u32 × (selected + 1): rows in the cells before
export const QUERY_KEYS = 84; // → f32: what orders the cells
export const QUERY_HELD = 88; // candidates held
export const QUERY_WORST = 92; // f32: below this no candidate is kept
export const QUERY_BOUND = 96; // f32: the estimate of the topK-th best, −∞ until there are so many
export const QUERY_LIST_SCORES = 100; // → f32, best first while the list is short
export const QUERY_LIST_IDS = 104; // → u32: rows counted over the selected cells
export const QUERY_HEAPS = 108; // → two top-k states, where the list is long
export const QUERY_TOP_K = 112;
export const QUERY_RERANK = 116; // candidates to keep
export const QUERY_SLOT = 120; // where the scan stands: the place in the selection
export const QUERY_BLOCK = 124; // and the block in that cell
export const QUERY_SCANNED = 128; // rows seen
export const QUERY_REFINED = 132; // rows whose record was read
export const QUERY_EPSILON = 136; // f32
export const QUERY_FILTER = 140; // → a bitset over ordinals, or 0
export const QUERY_BYTES = 192;

/** Rows scanned at once: no cell's piece is longer. */
export const PIECE_ROWS = 4096;
/** Room for candidates that wait to be refined: a piece always fits on top of what may already wait. */
export const LISTED_ROWS = 8192;
/** A candidate list up to here is kept in order; above, in heaps. */
export const SHORT_LIST = 64;

/** Bytes of a row of `dim` finely quantised components, a multiple of 16. */
export function levelBytes(dim: number): number {
  return ((dim + 7) >> 3) << 4;
}
