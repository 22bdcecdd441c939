/* Reads of history, start positions and listings, on connections of their own. The gate and the path of
 * the backup are borrowed from the store. See store.h for the contracts. */
#ifndef PSBROKER_READER_H
#define PSBROKER_READER_H

#include "store.h"

struct gate;

enum ps_status reader_open(const struct store_vtable *vtable, const char *path, const char *backup_path,
                           struct gate *gate, struct store_reader **reader);
void reader_close(struct store_reader *reader);
enum ps_status reader_read(struct store_reader *reader, struct store_read *read);
enum ps_status reader_resolve(struct store_reader *reader, struct store_resolve *resolve);
enum ps_status reader_verify(struct store_reader *reader, struct store_verify *verify);
enum ps_status reader_read_backup(struct store_reader *reader, struct store_backup_read *read);
enum ps_status reader_list(struct store_reader *reader, struct store_list *list);

#endif
