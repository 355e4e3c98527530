export { default } from 'typebox';
