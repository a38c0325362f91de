export { Kernels, LshPlanes, TopK } from "../../src/kernels/kernels.ts";
export { hasSimd, loadKernels } from "../../src/kernels/load.ts";
