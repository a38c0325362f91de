/** All that is shown of one opened dataset: which records, what was asked, what is selected. */
import type { DreamDBSpace, VectorQuery, Where } from "@dreamlake/dreamdb/space";
import {
  batch,
  computed,
  effect,
  type ReadonlySignal,
  type Signal,
  signal,
  untracked,
} from "@preact/signals";
import { adviceFor } from "./advice.ts";
import { announce } from "./announce.ts";
import { Catalogue } from "./catalogue.ts";
import { type Cost, effort, measured, type Quality } from "./cost.ts";
import { type Filters, NO_FILTERS, toggled, whereOf, without } from "./filters.ts";
import { allOf, type Listing, listOf, matching } from "./listing.ts";
import type { Place, View } from "./place.ts";
import { type Question, vectorOf, wordsOf } from "./question.ts";
import { Records } from "./records.ts";
import { cardFields, type Shape, shapeOf, type VectorField } from "./shape.ts";
import type { Travels } from "./travels.ts";

export type Panel = "timeline" | "cost";

/** What a search is about to do, for the visitor who waits. */
export type Phase = { is: "idle" } | { is: "loading model"; share: number } | { is: "searching" };

const COSTS_KEPT = 12;

export class Workspace {
  readonly travels: Travels;
  readonly shape: ReadonlySignal<Shape>;
  readonly catalogue: Signal<Catalogue>;
  readonly listing: Signal<Listing>;
  readonly records: Signal<Records>;
  readonly filters: Signal<Filters>;
  readonly question: Signal<Question | undefined> = signal(undefined);
  readonly phase: Signal<Phase> = signal({ is: "idle" });
  readonly failure: Signal<unknown> = signal(undefined);
  /** The latest first. */
  readonly costs: Signal<readonly Cost[]> = signal([]);
  readonly topK: Signal<number> = signal(60);
  readonly quality: Signal<Quality> = signal("balanced");
  readonly view: Signal<View>;
  readonly panel: Signal<Panel | undefined> = signal(undefined);
  readonly selected: Signal<bigint | undefined>;
  /** Categories that records are coloured by. */
  readonly colouredBy: Signal<string | undefined>;
  readonly hits: ReadonlySignal<Listing | undefined>;
  #ender = new AbortController();
  #asking = new AbortController();
  /** What has failed beside reading and searching, to be done again. */
  #failed: (() => Promise<void>) | undefined;
  #isClosed = false;
  /** Whether the catalogue was not read to its end. */
  #isCutShort = false;
  readonly #disposers: (() => void)[] = [];

  constructor(travels: Travels, place: Place) {
    this.travels = travels;
    this.shape = computed(() => shapeOf(travels.shown.value.tracks()));
    const shape = this.shape.peek();
    this.catalogue = signal(new Catalogue(shape));
    this.listing = signal(allOf(this.catalogue.peek()));
    this.records = signal(new Records(travels, this.listing.peek(), cardFields(shape)));
    this.filters = signal(knownOf(place.filters, shape));
    this.view = signal(shape.map === undefined ? "grid" : place.view);
    this.selected = signal(place.record);
    this.colouredBy = signal(shape.facets[0]);
    this.hits = computed(() => (this.listing.value.kind === "hits" ? this.listing.value : undefined));
    this.question.value = askedBy(place, shape);
    // Another state: everything is read anew, and asked again.
    this.#disposers.push(
      effect(() => {
        travels.shown.value;
        untracked(() => this.#begin());
      }),
    );
  }

  get where(): Where | undefined {
    const booleans = this.shape.peek().scalars.filter(({ kind }) => kind === "bool");
    return whereOf(this.filters.peek(), new Set(booleans.map(({ name }) => name)));
  }

  /** The field that questions of a kind go to by default. */
  fieldFor(by: Question["by"]): VectorField | undefined {
    const { vectors } = this.shape.peek();
    if (by === "text") return vectors.find(({ takesText }) => takesText);
    if (by === "picture") return vectors.find(({ takesPictures }) => takesPictures);
    return vectors[0];
  }

  askText(text: string, field = this.fieldFor("text")?.name): void {
    if (field !== undefined && text !== "") this.ask({ by: "text", field, text });
  }

  askPicture(blob: Blob, name: string): void {
    const field = this.fieldFor("picture")?.name;
    if (field !== undefined) this.ask({ by: "picture", field, name, blob, url: URL.createObjectURL(blob) });
  }

  askLike(anchor: bigint, field = this.fieldFor("record")?.name): void {
    if (field !== undefined) this.ask({ by: "record", field, anchor, title: this.titleOf(anchor) });
  }

  ask(question: Question | undefined): void {
    if (this.question.peek() !== question) this.#freePicture();
    this.question.value = question;
    void this.#list();
  }

  /** Asks once more, with other figures. */
  again(): void {
    void this.#list();
  }

  toggle(facet: string, value: string): void {
    this.filters.value = toggled(this.filters.peek(), facet, value);
    void this.#list();
  }

  clear(facet?: string): void {
    this.filters.value = facet === undefined ? NO_FILTERS : without(this.filters.peek(), facet);
    void this.#list();
  }

  /** Shows what arrived. */
  moveOn(): Promise<void> {
    return this.#attempt(() => this.travels.moveOn());
  }

  backToNewest(): Promise<void> {
    return this.#attempt(() => this.travels.travel(this.travels.newest.peek()));
  }

  /** Goes to what an address tells of the same dataset, its state included. */
  returnTo(place: Place): Promise<void> {
    return this.#attempt(async () => {
      await this.travels.travel(place.at ?? this.travels.newest.peek());
      this.goTo(place);
    });
  }

  /** Once more what has failed. */
  retry(): Promise<void> {
    const failed = this.#failed;
    const isOfRecords = this.failure.peek() === undefined;
    return this.#attempt(async () => {
      // All that is shown is then read anew.
      const { isLost } = this.travels;
      if (isLost) await this.travels.reopen();
      if (failed !== undefined) await failed();
      else if (isOfRecords && !isLost) this.records.peek().retry();
      else if (!isLost && this.#isCutShort) this.#begin();
      else if (!isLost) await this.#list();
    });
  }

  dismiss(): void {
    this.failure.value = undefined;
    this.#failed = undefined;
    this.records.peek().failure.value = undefined;
  }

  /** Goes to what an address tells of the state that is shown. */
  goTo(place: Place): void {
    const shape = this.shape.peek();
    batch(() => {
      this.view.value = shape.map === undefined ? "grid" : place.view;
      this.selected.value = place.record;
      this.filters.value = knownOf(place.filters, shape);
      const asked = askedBy(place, shape);
      const before = this.question.peek();
      const isSame =
        asked === undefined ? before === undefined : before !== undefined && sameQuestion(asked, before);
      if (!isSame) this.question.value = asked;
    });
    void this.#list();
  }

  titleOf(anchor: bigint): string {
    const catalogue = this.catalogue.peek();
    const row = catalogue.rowOf(anchor);
    return row < 0 ? "" : (catalogue.titles[row] ?? "");
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const dispose of this.#disposers) dispose();
    this.#ender.abort();
    this.#asking.abort();
    this.records.peek().close();
    this.#freePicture();
    await this.travels.close();
  }

  /** Does what may fail, and says so. */
  async #attempt(work: () => Promise<void>): Promise<void> {
    this.#failed = undefined;
    this.failure.value = undefined;
    try {
      await work();
    } catch (error) {
      if (this.#isClosed) return;
      this.failure.value = error;
      this.#failed = work;
      announce(adviceFor(error).title);
    }
  }

  #freePicture(): void {
    const asked = this.question.peek();
    if (asked?.by === "picture") URL.revokeObjectURL(asked.url);
  }

  #begin(): void {
    this.#ender.abort();
    this.#ender = new AbortController();
    const { signal } = this.#ender;
    const space = this.travels.shown.peek();
    const shape = this.shape.peek();
    const catalogue = new Catalogue(shape);
    this.catalogue.value = catalogue;
    this.failure.value = undefined;
    void this.#list();
    this.#isCutShort = false;
    catalogue.read(space, shape, signal).catch((error) => {
      this.#isCutShort = true;
      return this.#fail(space, error, signal);
    });
  }

  /** Shows what was asked for: hits, what passes the filters, or all. */
  async #list(): Promise<void> {
    this.#asking.abort();
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    const question = this.question.peek();
    const { where } = this;
    this.failure.value = undefined;
    this.#failed = undefined;
    const space = this.travels.shown.peek();
    try {
      if (question !== undefined) return await this.#search(question, where, signal);
      this.phase.value = { is: "idle" };
      if (where === undefined) return this.#show(allOf(this.catalogue.peek()));
      const listing = await matching(space, where, signal);
      if (signal.aborted) return;
      this.#show(listing);
      announce(`${listing.length.toLocaleString()} records match.`);
    } catch (error) {
      this.phase.value = signal.aborted ? this.phase.peek() : { is: "idle" };
      await this.#fail(space, error, signal);
    }
  }

  async #search(question: Question, where: Where | undefined, signal: AbortSignal): Promise<void> {
    const space = this.travels.shown.peek();
    const field = this.shape.peek().vectors.find(({ name }) => name === question.field);
    if (field === undefined) throw new Error(`The state that is shown has no field ${question.field}.`);
    const began = performance.now();
    this.phase.value = { is: "searching" };
    const vector = await vectorOf(
      question,
      space,
      (share) => {
        if (!signal.aborted) this.phase.value = { is: "loading model", share };
      },
      signal,
    );
    if (signal.aborted) return;
    this.phase.value = { is: "searching" };
    const modelMs = question.by === "record" ? 0 : performance.now() - began;
    // The example itself is its own nearest.
    const topK = this.topK.peek() + (question.by === "record" ? 1 : 0);
    const query: VectorQuery = {
      field: field.name,
      query: vector,
      topK,
      fields: [],
      ...effort(this.quality.peek(), field),
      ...(where === undefined ? {} : { where }),
    };
    const { value: batches, ...spent } = await measured(space, () => space.query({ ...query, signal }));
    if (signal.aborted) return;
    const anchors = batches.flatMap(({ _time_anchors }) => _time_anchors);
    const distances = batches.flatMap(({ _distances }) => _distances);
    const own = question.by === "record" ? anchors.indexOf(question.anchor) : -1;
    if (own >= 0) for (const list of [anchors, distances]) list.splice(own, 1);
    const limit = this.topK.peek();
    this.#show(listOf("hits", where, anchors.slice(0, limit), distances.slice(0, limit)));
    this.phase.value = { is: "idle" };
    announce(`${Math.min(anchors.length, limit)} records nearest to ${wordsOf(question)}.`);
    const cost: Cost = {
      label: wordsOf(question),
      modelMs,
      hits: anchors.length,
      again: undefined,
      ...spent,
    };
    this.costs.value = [cost, ...this.costs.peek()].slice(0, COSTS_KEPT);
    // Pictures of the hits are read meanwhile: they are no part of what a search costs.
    await this.travels.quiet(signal);
    if (signal.aborted) return;
    const again = await space.explain({ ...query, signal });
    this.costs.value = this.costs.peek().map((each) => (each === cost ? { ...cost, again } : each));
  }

  #show(listing: Listing): void {
    const before = this.records.peek();
    batch(() => {
      this.listing.value = listing;
      this.records.value = new Records(this.travels, listing, cardFields(this.shape.peek()));
    });
    before.close();
  }

  async #fail(space: DreamDBSpace, error: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted || (await this.travels.outlives(space, error)) || signal.aborted) return;
    this.failure.value = error;
    const { title } = adviceFor(error);
    announce(title);
  }
}

/** Filters on fields that the dataset has. */
function knownOf(filters: Filters, { facets }: Shape): Filters {
  return new Map([...filters].filter(([facet]) => facets.includes(facet)));
}

function askedBy({ text, like, field }: Place, { vectors }: Shape): Question | undefined {
  const named = vectors.find(({ name }) => name === field);
  if (like !== undefined) {
    const by = named ?? vectors[0];
    return by && { by: "record", field: by.name, anchor: like, title: "" };
  }
  const by = named?.takesText ? named : vectors.find(({ takesText }) => takesText);
  return text === undefined || by === undefined ? undefined : { by: "text", field: by.name, text };
}

function sameQuestion(a: Question, b: Question): boolean {
  if (a.field !== b.field) return false;
  if (a.by === "text") return b.by === "text" && a.text === b.text;
  return a.by === "record" && b.by === "record" && a.anchor === b.anchor;
}
