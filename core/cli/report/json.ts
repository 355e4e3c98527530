/** Findings for programs. */
import type { Finding } from '../../config/finding.ts';

/** One JSON object: `{ "findings": [{ file, line, column, severity, stage, rule, message }] }`. */
export function jsonReport(findings: readonly Finding[]): string {
  return `${JSON.stringify({ findings }, undefined, 2)}\n`;
}
