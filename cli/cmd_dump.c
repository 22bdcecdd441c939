/* psctl dump: what sub prints from the beginning to the end of the moment, as JSON, around what is damaged. */
#include "command.h"

int cmd_dump(const struct args *args)
{
    struct args sub = *args;

    sub.json = true;
    sub.start = PSC_START_BEGINNING;
    sub.start_option = "--from-beginning";
    sub.exit_at_end = true;
    sub.salvage = true;
    if (sub.operand_count == 0)
        sub.operands[sub.operand_count++] = "#";
    return cmd_sub(&sub);
}
