import { instantiate } from "#loader";
import { DreamDBError } from "../errors.ts";
import type { KernelExports } from "./exports.ts";
import { Kernels } from "./kernels.ts";

/** A build of the compute core. Both give the same bits; SIMD is several times faster. */
export type KernelMode = "simd" | "scalar";

export interface LoadOptions {
  /** A new instance with its own memory, instead of the one shared by all callers of its mode. */
  fresh?: boolean;
  /** The most bytes the instance's memory may reach, in steps of 64 KiB; at least 1 MiB. Default 4 GiB. Implies `fresh`. */
  maxBytes?: number;
}

const PAGE_BYTES = 65536;
/** As `initialMemory` in asconfig.json. */
const INITIAL_PAGES = 16;
const MAX_PAGES = 65536;

/**
 * A module whose one function, of i64, uses what engines are known to lack or to get wrong, each with its first operand
 * still needed afterwards: popcnt, swizzle, q15mulr_sat_s, extmul_high. V8's baseline compiler gives wrong lanes for the
 * latter three on x86 processors without AVX (the swizzle up to Node 20, the others up to Node 24 at least).
 */
const SIMD_PROBE = Uint8Array.of(
  ...[
    0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 126, 1, 126, 3, 2, 1, 0, 7, 6, 1, 2, 111, 102, 0, 0, 10, 57,
    1, 55, 1, 1, 123, 32, 0, 253, 18, 33, 1, 32, 1, 32, 1, 253, 98, 253, 14, 32, 1, 32, 1, 253, 98, 253, 130,
    1, 253, 206, 1, 32, 1, 32, 1, 253, 98, 253, 157, 1, 32, 1, 32, 1, 253, 159, 1, 253, 206, 1, 253, 206, 1,
    253, 29, 1, 11,
  ],
);
const PROBE_INPUT = 0x0706_f5f4_8302_017fn;
const PROBE_OUTPUT = -8974822281946928802n;

const modules = new Map<KernelMode, Promise<WebAssembly.Module>>();
const shared = new Map<KernelMode, Promise<Kernels>>();

let simd: boolean | undefined;

/** True when this engine has 128-bit SIMD that computes what it should. */
export function hasSimd(): boolean {
  simd ??= WebAssembly.validate(SIMD_PROBE) && probe() === PROBE_OUTPUT;
  return simd;
}

function probe(): bigint {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(SIMD_PROBE));
  return (exports as { of(x: bigint): bigint }).of(PROBE_INPUT);
}

/**
 * The compute core: `auto` takes SIMD where the engine has it. One instance per mode is shared, unless
 * `options` ask for another.
 * @throws DreamDBError InvalidArgument (unknown mode, maxBytes), UnsupportedBackend (`simd` asked for, but not there)
 */
export async function loadKernels(
  mode: "auto" | KernelMode = "auto",
  options: LoadOptions = {},
): Promise<Kernels> {
  const build = chooseBuild(mode);
  if (options.fresh === true || options.maxBytes !== undefined)
    return create(build, maxPages(options.maxBytes));
  return once(shared, build, () => create(build, MAX_PAGES));
}

/** A build's compiled module, which other threads can be given. */
export function kernelModule(build: KernelMode): Promise<WebAssembly.Module> {
  return once(modules, build, () => compile(build));
}

/** Takes a module that another thread has compiled, so that this one need not. */
export function adoptModule(build: KernelMode, module: WebAssembly.Module): void {
  modules.set(build, Promise.resolve(module));
}

function chooseBuild(mode: string): KernelMode {
  if (mode === "auto") return hasSimd() ? "simd" : "scalar";
  if (mode === "scalar") return "scalar";
  if (mode === "simd" && hasSimd()) return "simd";
  if (mode === "simd")
    throw new DreamDBError("UnsupportedBackend", "this engine has no WebAssembly SIMD that works", {
      field: "kernels",
    });
  throw new DreamDBError("InvalidArgument", "no such build of the compute core", {
    field: "kernels",
    found: mode,
    expected: "auto, simd or scalar",
  });
}

function maxPages(maxBytes: number | undefined): number {
  if (maxBytes === undefined) return MAX_PAGES;
  const pages = Math.floor(maxBytes / PAGE_BYTES);
  if (pages >= INITIAL_PAGES && pages <= MAX_PAGES) return pages;
  throw new DreamDBError("InvalidArgument", "the compute core's memory can't have this limit", {
    field: "maxBytes",
    found: maxBytes,
    expected: `${INITIAL_PAGES * PAGE_BYTES}…${MAX_PAGES * PAGE_BYTES}`,
  });
}

async function create(build: KernelMode, maximum: number): Promise<Kernels> {
  const module = await kernelModule(build);
  const memory = new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum });
  const { exports } = await instantiate(module, { env: { memory } });
  return new Kernels(build, memory, exports as unknown as KernelExports);
}

async function compile(build: KernelMode): Promise<WebAssembly.Module> {
  const { default: text } = await (build === "simd" ? import("#wasm/simd") : import("#wasm/scalar"));
  return WebAssembly.compile(bytesOf(text));
}

/** A character for each byte. A loop, or Buffer where there is one: a callback for each takes 20 ms of a fresh process. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  if (typeof Buffer === "function") return Buffer.from(text, "latin1");
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** The promise kept under `key`, made on first use; a failed one is not kept. */
function once<T>(kept: Map<KernelMode, Promise<T>>, key: KernelMode, make: () => Promise<T>): Promise<T> {
  const known = kept.get(key);
  if (known !== undefined) return known;
  const made = make();
  kept.set(key, made);
  made.catch(() => kept.delete(key));
  return made;
}
