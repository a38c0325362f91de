/** What all commands share: options, output, and the way they end. */
import { Command, InvalidArgumentError, Option } from "commander";
import { DEFAULT_BACKEND } from "./backend.ts";
import { EXIT_STATUS } from "./exit-code.ts";
import { withManual } from "./help.ts";
import { type Style, styleFor } from "./terminal.ts";
import { toJson } from "./text.ts";

export interface CommonOptions {
  backend: string;
  json?: boolean;
  quiet?: boolean;
}

/** A verb: its page is made of this and of the options and arguments that are added. */
export function command(usage: string, summary: string, examples: string, details = ""): Command {
  const made = new Command(usage)
    .description(summary)
    .addOption(
      new Option(
        "--backend <path-or-url>",
        "where datasets live: a directory, s3://bucket/…, https://host/bucket/…",
      )
        .env("DREAMDB_BACKEND")
        .default(DEFAULT_BACKEND),
    )
    .option("--json", "print one JSON document")
    .option("--quiet", "no progress and no notes");
  return withManual(made, { details, examples, exitStatus: EXIT_STATUS });
}

/** Where a command's result goes. */
export class Output {
  readonly isJson: boolean;
  readonly isQuiet: boolean;
  readonly style: Style = styleFor(process.stdout);

  constructor(options: CommonOptions) {
    this.isJson = options.json === true;
    this.isQuiet = options.quiet === true;
  }

  /** The result: the document for machines, or else what `text` says. */
  result(document: unknown, text: () => string): void {
    process.stdout.write(`${this.isJson ? toJson(document, 2) : text()}\n`);
  }

  /** Something worth knowing that is not the result. */
  note(text: string): void {
    if (!this.isQuiet) process.stderr.write(`${text}\n`);
  }
}

/** For options that are counts. */
export function countFrom(least: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${least}.`);
  };
}
