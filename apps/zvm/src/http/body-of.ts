import { plainToInstance } from 'class-transformer';
import { validate } from 'class-validator';
import { describeErrors } from '@tidemark/nest';
import { invalid } from '../errors.js';

/** `body` checked against `type` where Nest cannot know the type. @throws ZvmError ZVM_INVALID */
export async function bodyOf<T extends object>(type: new () => T, body: object): Promise<T> {
  const instance = plainToInstance(type, body);
  const errors = await validate(instance, { whitelist: true, stopAtFirstError: true });
  if (errors.length > 0) throw invalid(describeErrors(errors));
  return instance;
}
