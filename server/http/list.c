/* One page of a list: the store is asked for one row more than fits, which tells whether there is another
 * page. */
#include "server/http/internal.h"

srv_page srv_page_of(const srv_request *req)
{
    return (srv_page){.list = json_array(), .limit = (int32_t)srv_param_of(req, "limit")->number};
}

bool srv_page_takes(srv_page *page, int64_t id)
{
    if (page->n++ >= page->limit) return false;
    page->last_id = id;
    return true;
}

json_t *srv_page_cursor(const srv_page *page)
{
    char cursor[32] = "";
    if (page->n > page->limit) srv_cursor_make(page->last_id, cursor);
    return srv_json_text(cursor);
}

msa_status srv_page_answer(srv_page *page, msa_status status, srv_reply *out, const char *name)
{
    if (status == MSA_OK)
        srv_reply_json(out, MHD_HTTP_OK,
                       json_pack("{s:o, s:o}", name, page->list, "next_cursor", srv_page_cursor(page)));
    else
        json_decref(page->list);
    return status;
}
