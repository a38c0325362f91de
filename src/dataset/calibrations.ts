/** What was measured of indexes. */
import type { Calibration } from "./calibrate.ts";

/** Measurements by what they are of: made once, then at hand. */
export class Calibrations {
  private readonly running = new Map<string, Promise<Calibration>>();
  private readonly done = new Map<string, Calibration>();

  /** What was measured before. */
  at(key: string): Calibration | undefined {
    return this.done.get(key);
  }

  of(key: string, measure: () => Promise<Calibration>): Promise<Calibration> {
    let measured = this.running.get(key);
    if (measured === undefined) {
      measured = measure();
      this.running.set(key, measured);
      measured.then(
        (found) => this.done.set(key, found),
        () => this.running.delete(key),
      );
    }
    return measured;
  }

  clear(): void {
    this.running.clear();
    this.done.clear();
  }
}
