/**
 * One decorator per kind of field: validation, conversion and the OpenAPI entry cannot disagree. A field that is not
 * `isRequired` may be absent or null, so that what GET shows can be PUT back unchanged.
 */
import 'reflect-metadata';
import { ApiProperty, type ApiPropertyOptions } from '@nestjs/swagger';
import { Transform, Type } from 'class-transformer';
import {
  ArrayMaxSize, IsArray, IsBoolean, IsInt, IsNumber, IsObject, IsOptional, IsString, Max, MaxLength, Min, MinLength, ValidateBy, ValidateNested,
} from 'class-validator';
import { isPlainLines, isPlainText } from '@tidemark/base';
import { type Enumeration, parseEnumeration } from './enumerations.js';

export interface FieldOptions {
  /** Absent and null are refused. */
  readonly isRequired?: boolean;
  readonly description?: string;
}

type Constructor = new () => object;

const LIST_ITEMS_MAX = 1000;

function combine(options: FieldOptions, api: ApiPropertyOptions, validators: readonly PropertyDecorator[]): PropertyDecorator {
  const isRequired = options.isRequired ?? false;
  const shown = { ...api, required: isRequired, ...(isRequired ? {} : { nullable: true }) } as ApiPropertyOptions;
  const described = options.description === undefined ? shown : { ...shown, description: options.description };
  return (target, key) => {
    // Applied last to first as stacked decorators are, so that the first one listed is checked last.
    for (const decorate of [ApiProperty(described), ...(isRequired ? [] : [IsOptional()]), ...validators]) decorate(target, key);
  };
}

export interface TextOptions extends FieldOptions {
  readonly lengthMin?: number;
  readonly lengthMax?: number;
  /** Line ends and tabs may be in it. */
  readonly hasLines?: boolean;
}

const TEXT_LENGTH_MAX = 4096;

/** Names and labels come to terminals, logs and files of others: what would act there is refused where it comes in. */
export function IsPlain({ hasLines = false, each = false }: { readonly hasLines?: boolean; readonly each?: boolean } = {}): PropertyDecorator {
  const isPlain = hasLines ? isPlainLines : isPlainText;
  const validate = (value: unknown): boolean => (each ? Array.isArray(value) && value.every((item) => typeof item === 'string' && isPlain(item)) : typeof value === 'string' && isPlain(value));
  const message = (property = 'value'): string => `${each ? 'each value in ' : ''}${property} must not contain control characters, direction marks or invisible characters`;
  return ValidateBy({ name: 'isPlain', validator: { validate, defaultMessage: (args): string => message(args?.property) } });
}

export function Text({ lengthMin = 0, lengthMax = TEXT_LENGTH_MAX, hasLines = false, ...options }: TextOptions = {}): PropertyDecorator {
  return combine(options, { type: 'string', maxLength: lengthMax }, [IsString(), MinLength(lengthMin), MaxLength(lengthMax), IsPlain({ hasLines })]);
}

export function Int({ min = 0, max = Number.MAX_SAFE_INTEGER, ...options }: FieldOptions & { min?: number; max?: number } = {}): PropertyDecorator {
  return combine(options, { type: 'integer', minimum: min }, [IsInt(), Min(min), Max(max)]);
}

export function Decimal(options: FieldOptions = {}): PropertyDecorator {
  return combine(options, { type: 'number', format: 'double' }, [IsNumber()]);
}

export function Flag(options: FieldOptions = {}): PropertyDecorator {
  return combine(options, { type: 'boolean' }, [IsBoolean()]);
}

/** An instant as ISO-8601 in UTC. */
export function Instant(options: FieldOptions = {}): PropertyDecorator {
  return combine(options, { type: 'string', format: 'date-time' }, [IsString()]);
}

/** Another object. */
export function Section(type: () => Constructor, options: FieldOptions = {}): PropertyDecorator {
  return combine(options, { type }, [IsObject(), ValidateNested(), Type(type)]);
}

export function List(type: () => Constructor, options: FieldOptions = {}): PropertyDecorator {
  return combine(options, { type, isArray: true }, [
    IsArray(), ArrayMaxSize(LIST_ITEMS_MAX), IsObject({ each: true }), ValidateNested({ each: true }), Type(type),
  ]);
}

export function Texts(options: FieldOptions = {}): PropertyDecorator {
  return combine(options, { type: 'string', isArray: true }, [
    IsArray(), ArrayMaxSize(LIST_ITEMS_MAX), IsString({ each: true }), MaxLength(TEXT_LENGTH_MAX, { each: true }), IsPlain({ each: true }),
  ]);
}

function isOneOf(of: Enumeration): PropertyDecorator {
  const allowed = of.names.map((name, number) => `${number} ${name}`).join(', ');
  return ValidateBy({
    name: 'isOneOf',
    validator: {
      validate: (value): boolean => typeof value === 'string' && of.names.includes(value),
      defaultMessage: (args): string => `${args?.property ?? 'value'} must be one of ${allowed}`,
    },
  });
}

/** In a request: number or name (any letter case) on the wire, always the name after reading. */
export function Choice(of: Enumeration, options: FieldOptions = {}): PropertyDecorator {
  const api = { oneOf: [{ type: 'string', enum: [...of.names] }, { type: 'integer', minimum: 0, maximum: of.names.length - 1 }] };
  const toName = Transform(({ value }: { value: unknown }) => parseEnumeration(of, value) ?? value);
  return combine(options, api, [isOneOf(of), toName]);
}

/** In an answer: the number. */
export function EnumNumber(of: Enumeration, options: FieldOptions = {}): PropertyDecorator {
  const description = of.names.map((name, number) => `${number} ${name}`).join(', ');
  return combine({ description, ...options }, { type: 'integer', minimum: 0, maximum: of.names.length - 1 }, [IsInt(), Min(0), Max(of.names.length - 1)]);
}

/** A field of the vendor's API that this version has no use for: shown as null, accepted as null or false, refused otherwise rather than lost. */
export function Unsupported(): PropertyDecorator {
  const refuse = ValidateBy({
    name: 'isUnsupported',
    validator: {
      validate: (value): boolean => value === false,
      defaultMessage: (args): string => `${args?.property ?? 'value'} is not supported by this version: leave it null`,
    },
  });
  return combine({ description: 'not supported by this version' }, { type: 'object', additionalProperties: true }, [refuse]);
}
