export { type Answer, type Answered, answerOf, DONE, type ShapedAnswer } from './answer.js';
