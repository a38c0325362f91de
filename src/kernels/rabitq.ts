// TEMPORARY stand-in
import type { Kernels } from "./kernels.ts";
import type { Rotation } from "./rotation.ts";
const f = Math.fround;
export function toIndexSpace(kernels: Kernels, metric: string, exponent: number, x: number, n: number, dim: number, out: number): void {
  const v = kernels.f32(x, n * dim); const o = kernels.f32(out, n * dim);
  for (let r = 0; r < n; r++) {
    const inv = metric === "cosine" ? kernels.invNorm(x + r * dim * 4, dim) : f(2 ** -exponent);
    for (let i = 0; i < dim; i++) o[r * dim + i] = f((v[r * dim + i] as number) * inv);
  }
}
const STEP = [0, 0, 0.9957, 0.586, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308];
export class RabitqEncoder {
  k: Kernels; rot: Rotation; c: Float32Array; bits: number; metric: string; Z: Map<number, Float32Array> = new Map();
  constructor(kernels: Kernels, o: { rotation: Rotation; centroids: Float32Array; bits: number; metric: string }) { this.k = kernels; this.rot = o.rotation; this.c = o.centroids; this.bits = o.bits; this.metric = o.metric; }
  rotate(y: Float32Array): Float32Array { const p = this.k.copyIn(y); const D = this.rot.padded; const q = this.k.alloc(D * 4); this.rot.rotate(p, 1, q); const z = this.k.f32(q, D).slice(); this.k.free(p); this.k.free(q); return z; }
  encode(y: number, n: number, cells: number, out: number): void {
    const dim = this.rot.dim, D = this.rot.padded, B = this.bits; const W = B * D / 8 + 8 + (B > 1 ? 8 : 0);
    const ys = this.k.f32(y, n * dim).slice(), cs = this.k.u32(cells, n).slice(); const O = new Uint8Array(n * W); const dv = new DataView(O.buffer);
    const sum4 = (g: (t: number) => number): number => { const a = [0, 0, 0, 0]; for (let t = 0; t < D; t++) a[t & 3] = f((a[t & 3] as number) + g(t)); return f(f((a[0] as number) + (a[1] as number)) + f((a[2] as number) + (a[3] as number))); };
    const is = f(1 / Math.sqrt(D));
    for (let r = 0; r < n; r++) {
      const yv = ys.subarray(r * dim, r * dim + dim); const cell = cs[r] as number; let Z = this.Z.get(cell); if (!Z) { Z = this.rotate(this.c.slice(cell * dim, cell * dim + dim)); this.Z.set(cell, Z); }
      const z = this.rotate(yv.slice()); const R = z.map((v, t) => f(v - (Z![t] as number))); const at = (a: Float32Array, t: number): number => a[t] as number;
      const rn = sum4((t) => f(at(R, t) * at(R, t))), cr = sum4((t) => f(at(Z!, t) * at(R, t))); let h = 0; if (this.metric === "l2") { for (let i = 0; i < dim; i++) h = f(h + f(at(yv, i) * at(yv, i))); h = f(h * 0.5); }
      const l1 = sum4((t) => Math.abs(at(R, t))), cb = sum4((t) => at(R, t) >= 0 ? at(Z!, t) : -at(Z!, t)); const f1 = l1 > 0 ? f(rn / f(l1 * is)) : 0; const a1 = f(f(cr - f(f(f1 * cb) * is)) - h); const rd = f(Math.sqrt(D - 1)); const e1 = f(f(Math.sqrt(Math.max(0, f(f(f1 * f1) - rn)))) / rd);
      const o = r * W; const L = 2 ** (B - 1); const u = new Uint8Array(D); let fB = 0, aB = 0, eB = 0;
      if (B === 1) for (let t = 0; t < D; t++) u[t] = at(R, t) >= 0 ? 1 : 0;
      else if (rn === 0) { u.fill(L); aB = f(cr - h); }
      else { const sigma = f(Math.sqrt(f(rn / D))); let best = -Infinity; let G = new Float32Array(D); let dt = 0, nn = 0;
        for (let s = 0; s < 8; s++) { const step = f(sigma * f(f(STEP[B] as number) * f(0.7 + 0.1 * s))); const inv = f(1 / step); const g = R.map((v) => Math.max(-L, Math.min(L - 1, Math.floor(f(v * inv)))) + 0.5); const d = sum4((t) => f(at(g, t) * at(R, t))), m = sum4((t) => f(at(g, t) * at(g, t))); const co = f(d / f(Math.sqrt(m))); if (co > best) { best = co; G = g; dt = d; nn = m; } }
        const cq = sum4((t) => f(at(G, t) * at(Z!, t))); fB = dt > 0 ? f(rn / dt) : 0; aB = f(f(cr - f(fB * cq)) - h); eB = f(f(Math.sqrt(Math.max(0, f(f(f(fB * fB) * nn) - rn)))) / rd); for (let t = 0; t < D; t++) u[t] = at(G, t) - 0.5 + L; }
      for (let p = 0; p < B; p++) for (let t = 0; t < D; t++) if (((u[t] as number) >> (B - 1 - p)) & 1) { const b = o + p * D / 8 + (t >> 3); O[b] = (O[b] as number) | (1 << (t & 7)); }
      const rne = (x: number): number => { const fl = Math.floor(x), d = x - fl; return d > 0.5 || (d === 0.5 && fl % 2 !== 0) ? fl + 1 : fl; };
      let A = rne(f(a1 * 16384)), F = rne(f(f1 * 16384)); if (Math.abs(A) > 32767 || F > 32767 || F < 0) { A = 32767; F = 0; }
      const q = o + B * D / 8; dv.setInt16(q, A, true); dv.setInt16(q + 2, F, true); dv.setUint16(q + 4, Math.min(65535, rne(f(e1 * 65536))), true); if (B > 1) { dv.setUint16(q + 6, Math.min(65535, rne(f(eB * 65536))), true); dv.setFloat32(q + 8, aB, true); dv.setFloat32(q + 12, fB, true); }
    }
    this.k.bytes(out, O.length).set(O);
  }
  free(): void {}
}
