/** The part of @assemblyscript/loader that load.ts uses, in its place in browsers: the core passes numbers alone. */

type Imports = Record<string, Record<string, unknown>>;

export async function instantiate(
  module: WebAssembly.Module,
  imports: Imports = {},
): Promise<{ instance: WebAssembly.Instance; exports: Record<string, unknown> }> {
  const instance = await WebAssembly.instantiate(module, imports as WebAssembly.Imports);
  return { instance, exports: instance.exports };
}
