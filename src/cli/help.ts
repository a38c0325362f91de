/** `--help` as a manual page has it: every command's page comes out of the declaration that also parses its arguments. */
import type { Argument, Command, Help, Option } from "commander";

/** What a page says beyond names and options. */
export interface Manual {
  /** Paragraphs after the summary; may be empty. */
  details: string;
  /** Command lines, one each. */
  examples: string;
  /** Lines of `code  meaning`. */
  exitStatus: string;
}

const manuals = new WeakMap<Command, Manual>();

/** Gives a command the page that `--help` prints. */
export function withManual(command: Command, manual: Manual): Command {
  manuals.set(command, manual);
  command.helpOption("-h, --help", "print this page");
  return command.configureHelp({ formatHelp: (shown, helper) => pageOf(shown, helper) });
}

const INDENT = "  ";
/** Columns that terms take; longer ones have a line of their own. */
const TERM = 26;

function pageOf(command: Command, helper: Help): string {
  const manual = manuals.get(command);
  const name = [...ancestors(command), command.name()].join(" ");
  const sections: [string, string][] = [
    ["Usage", `${name} ${usageOf(command)}`],
    [
      "Description",
      [sentence(command.description()), manual?.details.trim() ?? ""].filter(Boolean).join("\n\n"),
    ],
  ];
  const commands = helper.visibleCommands(command);
  if (commands.length > 0)
    sections.push([
      "Commands",
      listed(
        commands.map((each) => [commandTerm(each), each.description()]),
        helper,
      ),
    ]);
  if (command.registeredArguments.length > 0)
    sections.push([
      "Arguments",
      listed(
        command.registeredArguments.map((each) => [termOf(each), textOf(each)]),
        helper,
      ),
    ]);
  sections.push([
    "Options",
    listed(
      helper.visibleOptions(command).map((each) => [each.flags, textOf(each)]),
      helper,
    ),
  ]);
  if (manual !== undefined) {
    sections.push(["Examples", manual.examples.trim()]);
    sections.push(["Exit codes", manual.exitStatus.trim()]);
  }
  return `${sections.map(([title, body]) => `${title}:\n${body.replace(/^(?=.)/gm, INDENT)}`).join("\n\n")}\n`;
}

function ancestors({ parent }: Command): string[] {
  return parent === null ? [] : [...ancestors(parent), parent.name()];
}

function usageOf(command: Command): string {
  const required = command.options.filter(({ mandatory }) => mandatory).map(({ flags }) => flags);
  const verb = command.commands.length > 0 ? ["<command>"] : [];
  return [...verb, ...command.registeredArguments.map(termOf), ...required, "[options]"].join(" ");
}

function commandTerm(command: Command): string {
  return [command.name(), ...command.registeredArguments.map(termOf)].join(" ");
}

export function termOf(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

function textOf(each: Argument | Option): string {
  const facts: string[] = [];
  if (each.argChoices !== undefined) facts.push(`one of ${each.argChoices.join(", ")}`);
  const usual = each.defaultValue as unknown;
  if (usual !== undefined && typeof usual !== "boolean" && !(Array.isArray(usual) && usual.length === 0))
    if (usual !== "") facts.push(`default: ${String(usual)}`);
  if ("envVar" in each && each.envVar !== undefined) facts.push(`environment: ${each.envVar}`);
  return facts.length === 0 ? each.description : `${each.description} (${facts.join("; ")})`;
}

function listed(items: readonly (readonly [string, string])[], helper: Help): string {
  const width = Math.max(40, Math.min(helper.helpWidth ?? 100, 100) - INDENT.length - TERM);
  return items
    .map(([term, text]) => {
      const lines = wrapped(text, width);
      const first = term.length < TERM ? `${term.padEnd(TERM)}${lines.shift() ?? ""}` : term;
      return [first, ...lines.map((line) => `${" ".repeat(TERM)}${line}`)].join("\n").trimEnd();
    })
    .join("\n");
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
