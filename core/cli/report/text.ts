/** Findings for people: one line each, `file:line:column  message`, which terminals and editors make links of. */
import type { Finding } from '../../config/finding.ts';
import { counted } from '../output.ts';

export function textReport(findings: readonly Finding[], colours: boolean): string {
  // Node's styleText would look at the standard output of the process, whatever this is written to.
  const style = (on: number, off: number, text: string) => (colours ? `\u001b[${on}m${text}\u001b[${off}m` : text);
  const warning = `${style(33, 39, 'warning:')} `;
  const lines = findings.map(({ file, line, column, severity, message }) => {
    const place = style(1, 22, `${file}:${line}:${column}`);
    return `${place}  ${severity === 'warning' ? warning : ''}${message}\n`;
  });
  return lines.join('');
}

/** `2 errors, 1 warning` */
export function countFindings(findings: readonly Finding[]): string {
  const warnings = findings.filter(({ severity }) => severity === 'warning').length;
  const errors = findings.length - warnings;
  return [errors > 0 ? counted(errors, 'error') : [], warnings > 0 ? counted(warnings, 'warning') : []]
    .flat()
    .join(', ');
}
