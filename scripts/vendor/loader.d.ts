/** The part of @assemblyscript/loader that src/kernels/load.ts uses. */
export function instantiate(
  module: WebAssembly.Module,
  imports?: Record<string, Record<string, unknown>>,
): Promise<{ instance: WebAssembly.Instance; exports: Record<string, unknown> }>;
