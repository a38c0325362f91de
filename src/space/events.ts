import type { Address } from "../core/address.ts";
import type { WatchedRequest } from "../store/watched.ts";

/** Requests of the backend, from the opening on. */
export interface SpaceProgress {
  /** Under way. */
  pending: number;
  /** Done, failed ones included. */
  requests: number;
  /** That those brought. */
  bytes: number;
}

/** A state and the one that followed it here. */
export interface RefMoved {
  from: Address;
  to: Address;
}

/** The events of a Space, by type: CustomEvents of these details. */
export interface SpaceEvents {
  /** A request of the backend has ended. */
  request: CustomEvent<WatchedRequest>;
  /** A request has begun or ended. */
  progress: CustomEvent<SpaceProgress>;
  /** The Space shows a later state than before. */
  refmoved: CustomEvent<RefMoved>;
}
