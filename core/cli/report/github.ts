/** Findings as workflow commands, which GitHub Actions shows beside the lines they are about. */
import type { Finding } from '../../config/finding.ts';

export function githubReport(findings: readonly Finding[]): string {
  const lines = findings.map(({ file, line, column, severity, rule, message }) => {
    const properties = { file, line: String(line), col: String(column), title: `pointsman: ${rule}` };
    const list = Object.entries(properties).map(([name, value]) => `${name}=${escapeProperty(value)}`);
    return `::${severity} ${list.join(',')}::${escapeData(message)}\n`;
  });
  return lines.join('');
}

/** As the runner reads them back. */
const escapeData = (text: string) => text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
const escapeProperty = (text: string) => escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
