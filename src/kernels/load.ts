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

/** A module whose one function uses `i8x16.splat` and `i8x16.popcnt`: valid only where there is SIMD. */
const SIMD_PROBE = Uint8Array.of(
  ...[
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98,
    11,
  ],
);

const modules = new Map<KernelMode, Promise<WebAssembly.Module>>();
const shared = new Map<KernelMode, Promise<Kernels>>();

/** True when this engine has 128-bit SIMD. */
export function hasSimd(): boolean {
  return WebAssembly.validate(SIMD_PROBE);
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
    throw new DreamDBError("UnsupportedBackend", "this engine has no WebAssembly SIMD", { field: "kernels" });
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
  const { default: base64 } = await (build === "simd" ? import("#wasm/simd") : import("#wasm/scalar"));
  return WebAssembly.compile(Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)));
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
