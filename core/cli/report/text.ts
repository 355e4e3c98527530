/** Findings for people: one line each, `file:line:column  message`, which terminals and editors make links of. */
import type { Finding } from '../../config/finding.ts';
import { counted } from '../output.ts';
import { styleWith } from './style.ts';

export function textReport(findings: readonly Finding[], colours: boolean): string {
  const style = styleWith(colours);
  const warning = `${style('yellow', 'warning:')} `;
  const lines = findings.map(({ file, line, column, severity, message }) => {
    const place = style('bold', `${file}:${line}:${column}`);
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
