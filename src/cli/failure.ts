/** Telling of failures: one line on stderr, and with --json a document on stdout. */
import { CommanderError } from "commander";
import { DreamDBError, isDreamDBError } from "../index.node.ts";
import { ExitCode, exitCodeOf } from "./exit-code.ts";
import { printable, styleFor } from "./terminal.ts";
import { toJson } from "./text.ts";

/** Reports `error` and returns the exit code. */
export function report(error: unknown, isJson: boolean): ExitCode {
  if (error instanceof CommanderError) return reportUsage(error, isJson);
  const code = isDreamDBError(error) ? error.code : "Unexpected";
  print(code, messageOf(error), isJson, isDreamDBError(error) ? factsOf(error) : {});
  if (code === "Unexpected" && process.env.DREAMDB_DEBUG && error instanceof Error)
    console.error(error.stack);
  return exitCodeOf(error);
}

function reportUsage(error: CommanderError, isJson: boolean): ExitCode {
  if (error.exitCode === 0) return ExitCode.ok;
  // Plain `dreamdb` shows the help by itself.
  if (error.code !== "commander.help") print("Usage", error.message.replace(/^error: /, ""), isJson, {});
  return ExitCode.usage;
}

function print(code: string, message: string, isJson: boolean, facts: Record<string, unknown>): void {
  const style = styleFor(process.stderr);
  process.stderr.write(`${style.red(`dreamdb: ${code}:`)} ${printable(message)}\n`);
  if (isJson) process.stdout.write(`${toJson({ error: { code, message, ...facts } }, 2)}\n`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** All that an error carries, taken from the errors it wraps where it is silent itself. */
function factsOf(error: DreamDBError): Record<string, unknown> {
  const inner = isDreamDBError(error.cause) ? factsOf(error.cause) : {};
  const { name: _, code: _code, ...own } = { ...error };
  const set = Object.entries(own).filter(([, value]) => value !== undefined);
  return { ...inner, ...Object.fromEntries(set) };
}

/** A file-system failure as one of the library's errors, naming the file; others pass through. */
export function fileError(error: unknown, path: string): unknown {
  const errno = (error as NodeJS.ErrnoException | null)?.code;
  if (isDreamDBError(error) || errno === undefined || !/^E[A-Z0-9]+$/.test(errno)) return error;
  if (errno === "ENOENT" || errno === "ENOTDIR") {
    return new DreamDBError("NotFound", "no such file", { field: "path", found: path, errno, cause: error });
  }
  return new DreamDBError("InvalidArgument", "this file can't be read", {
    field: "path",
    found: `${path}: ${errno}`,
    errno,
    cause: error,
  });
}
