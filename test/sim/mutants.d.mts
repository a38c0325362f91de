export const MUTANTS: Record<string, unknown>;
