const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** `<site that asked>.<uuid>`: whose word a task began on stands in its id, which a paired site may make for tasks of its own alone. */
export const isTaskIdOf = (taskId: string, siteId: string): boolean => taskId.startsWith(`${siteId}.`) && UUID.test(taskId.slice(siteId.length + 1));

export const siteOfTask = (taskId: string): string => taskId.split('.')[0] ?? '';
